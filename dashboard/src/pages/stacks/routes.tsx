import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const stackRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "stacks",
    validateSearch: (given): { of?: string } => (given.of ? { of: String(given.of) } : {}),
    component: lazyRouteComponent(() => import("./stacks")),
  }),
] as const;
