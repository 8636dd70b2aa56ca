import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const overviewRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "overview",
    component: lazyRouteComponent(() => import("./overview")),
  }),
] as const;
