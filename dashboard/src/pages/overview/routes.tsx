import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const overviewRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "overview",
    validateSearch: (search): { days?: number } =>
      Number(search.days) > 0 ? { days: Number(search.days) } : {},
    component: lazyRouteComponent(() => import("./overview")),
  }),
] as const;
