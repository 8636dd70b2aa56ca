import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

const text = (value: unknown): string | undefined =>
  (typeof value === "string" && value) ||
  (typeof value === "number" ? String(value) : undefined) ||
  undefined;

export const artifactsRoute = createRoute({
  getParentRoute: () => projectRoute,
  path: "artifacts",
  validateSearch: (
    search: Record<string, unknown>,
  ): {
    search?: string | undefined;
    type?: string | undefined;
    tag?: string | undefined;
    run?: string | undefined;
  } => ({
    search: text(search.search),
    type: text(search.type),
    tag: text(search.tag),
    run: text(search.run), // its name; then versions are listed, not names
  }),
  component: lazyRouteComponent(() => import("./artifacts")),
});

export const artifactNameRoute = createRoute({
  getParentRoute: () => projectRoute,
  path: "artifacts/$name",
  validateSearch: (search: Record<string, unknown>): { keys?: string | undefined } => ({
    keys: text(search.keys), // of metadata in the chart, separated by commas
  }),
  component: lazyRouteComponent(() => import("./name")),
});

export const artifactVersionRoute = createRoute({
  getParentRoute: () => projectRoute,
  path: "artifacts/$name/$version",
  validateSearch: (
    search: Record<string, unknown>,
  ): { tab?: string | undefined; view?: string | undefined; depth?: number | undefined } => ({
    tab: text(search.tab),
    view: text(search.view), // which of the contents
    depth: Number(search.depth) || undefined, // of the lineage
  }),
  component: lazyRouteComponent(() => import("./version")),
});

export const artifactRoutes = [artifactsRoute, artifactNameRoute, artifactVersionRoute] as const;
