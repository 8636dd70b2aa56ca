import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const webhookRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "webhooks",
    component: lazyRouteComponent(() => import("./webhooks")),
  }),
] as const;
