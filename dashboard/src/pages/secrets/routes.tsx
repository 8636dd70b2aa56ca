import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const secretRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "secrets",
    component: lazyRouteComponent(() => import("./secrets")),
  }),
] as const;
