import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const buildRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "builds",
    component: lazyRouteComponent(() => import("./builds")),
  }),
] as const;
