import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const snapshotRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "snapshots",
    component: lazyRouteComponent(() => import("./snapshots")),
  }),
] as const;
