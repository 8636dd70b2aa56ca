import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const pipelineRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "pipelines",
    component: lazyRouteComponent(() => import("./pipelines")),
  }),
] as const;
