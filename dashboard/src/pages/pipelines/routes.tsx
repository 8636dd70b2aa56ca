import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { readFilters, writeFilters } from "@/pages/runs/filters";
import { projectRoute } from "@/routes";

export const pipelineRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "pipelines",
    validateSearch: (search): { name?: string; sort?: string } => ({
      ...(typeof search.name === "string" && search.name && { name: search.name }),
      ...(typeof search.sort === "string" && { sort: search.sort }),
    }),
    component: lazyRouteComponent(() => import("./pipelines")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "pipelines/$pipeline",
    validateSearch: (search) => ({
      ...writeFilters(readFilters(search)),
      ...(Number(search.days) > 0 && { days: Number(search.days) }),
    }),
    component: lazyRouteComponent(() => import("./pipeline")),
  }),
] as const;
