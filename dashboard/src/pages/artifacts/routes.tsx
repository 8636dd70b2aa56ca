import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const artifactRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "artifacts",
    component: lazyRouteComponent(() => import("./artifacts")),
  }),
] as const;
