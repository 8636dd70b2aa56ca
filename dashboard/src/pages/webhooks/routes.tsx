import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const webhookRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "webhooks",
    component: lazyRouteComponent(() => import("./webhooks")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "webhooks/new",
    component: lazyRouteComponent(() => import("./new")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "webhooks/$name",
    validateSearch: (given): { edit?: boolean } => (given.edit ? { edit: true } : {}),
    component: lazyRouteComponent(() => import("./webhook")),
  }),
] as const;
