import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const scheduleRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "schedules",
    validateSearch: (given): { q?: string } => (given.q ? { q: String(given.q) } : {}),
    component: lazyRouteComponent(() => import("./schedules")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "schedules/new",
    validateSearch: (given): { snapshot?: string } =>
      given.snapshot ? { snapshot: String(given.snapshot) } : {},
    component: lazyRouteComponent(() => import("./new")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "schedules/$name",
    validateSearch: (given): { edit?: boolean } => (given.edit ? { edit: true } : {}),
    component: lazyRouteComponent(() => import("./schedule")),
  }),
] as const;
