import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { rootRoute } from "@/routes";

export const setupRoutes = [
  createRoute({
    getParentRoute: () => rootRoute,
    path: "setup",
    validateSearch: (given): { project?: string } =>
      given.project ? { project: String(given.project) } : {},
    component: lazyRouteComponent(() => import("./setup")),
  }),
] as const;
