import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const stackRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "stacks",
    component: lazyRouteComponent(() => import("./stacks")),
  }),
] as const;
