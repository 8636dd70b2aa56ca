import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const compareRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "compare",
    validateSearch: (search): { runs?: string; all?: boolean } => ({
      ...(typeof search.runs === "string" && { runs: search.runs }),
      ...(search.all === true && { all: true }),
    }),
    component: lazyRouteComponent(() => import("./compare")),
  }),
] as const;
