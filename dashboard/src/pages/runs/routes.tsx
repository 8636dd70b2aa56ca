import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";
import { readFilters, writeFilters } from "./filters";
import { runRoute } from "./run/routes";

export const runRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "runs",
    validateSearch: (search) => writeFilters(readFilters(search)),
    component: lazyRouteComponent(() => import("./runs")),
  }),
  runRoute,
  createRoute({
    getParentRoute: () => projectRoute,
    path: "runs/$run/logs/$log",
    component: lazyRouteComponent(() => import("./logs/page")),
  }),
] as const;
