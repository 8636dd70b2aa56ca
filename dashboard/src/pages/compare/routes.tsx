import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const compareRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "compare",
    component: lazyRouteComponent(() => import("./compare")),
  }),
] as const;
