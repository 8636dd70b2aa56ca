import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const snapshotRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "snapshots",
    validateSearch: (given): { q?: string } => (given.q ? { q: String(given.q) } : {}),
    component: lazyRouteComponent(() => import("./snapshots")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "snapshots/$id",
    component: lazyRouteComponent(() => import("./snapshot")),
  }),
] as const;
