import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const runRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "runs",
    component: lazyRouteComponent(() => import("./runs")),
  }),
] as const;
