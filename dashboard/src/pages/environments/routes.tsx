import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

const text = (value: unknown) => (typeof value === "string" && value ? value : undefined);

export type EnvironmentsSearch = {
  tab?: "all";
  pipeline?: string;
  run?: string; // id
  show?: "all" | "shared" | "alone"; // rows of the matrix; those that differ by default
  q?: string; // packages of the matrix
  columns?: string; // keys of the environments in the matrix, after commas; the usual ones by default
  role?: string; // of the list
  name?: string; // of the list
};

export type EnvironmentSearch = { tab?: "image" | "users"; q?: string; closed?: string };

export const environmentRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "environments",
    validateSearch: (given: Record<string, unknown>): EnvironmentsSearch => ({
      tab: given.tab === "all" ? "all" : undefined,
      pipeline: text(given.pipeline),
      run: text(given.run),
      show: (["all", "shared", "alone"] as const).find((each) => each === given.show),
      q: text(given.q),
      columns: text(given.columns),
      role: text(given.role),
      name: text(given.name),
    }),
    component: lazyRouteComponent(() => import("./environments")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "environments/diff",
    validateSearch: (given: Record<string, unknown>): { a?: string; b?: string } => ({
      a: text(given.a),
      b: text(given.b),
    }),
    component: lazyRouteComponent(() => import("./diff")),
  }),
  createRoute({
    getParentRoute: () => projectRoute,
    path: "environments/$digest",
    validateSearch: (given: Record<string, unknown>): EnvironmentSearch => ({
      tab: (["image", "users"] as const).find((each) => each === given.tab),
      q: text(given.q),
    }),
    component: lazyRouteComponent(() => import("./environment")),
  }),
] as const;
