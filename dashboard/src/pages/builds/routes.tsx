import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

const text = (value: unknown) => (typeof value === "string" && value ? value : undefined);

export type BuildsSearch = { state?: string; name?: string };

export const buildRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "builds",
    validateSearch: (given: Record<string, unknown>): BuildsSearch => ({
      state: text(given.state),
      name: text(given.name),
    }),
    component: lazyRouteComponent(() => import("./builds")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "builds/$id",
    component: lazyRouteComponent(() => import("./build")),
  }),
] as const;
