import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const environmentRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "environments",
    component: lazyRouteComponent(() => import("./environments")),
  }),
] as const;
