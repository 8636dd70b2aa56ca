import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const scheduleRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "schedules",
    component: lazyRouteComponent(() => import("./schedules")),
  }),
] as const;
