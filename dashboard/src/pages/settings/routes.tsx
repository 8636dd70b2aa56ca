import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { settingsRoute } from "@/routes";

/** Texts of an address by name, those that are not empty. */
function texts<Name extends string>(...names: Name[]) {
  return (given: Record<string, unknown>): { [name in Name]?: string } =>
    Object.fromEntries(names.filter((name) => given[name]).map((name) => [name, String(given[name])])) as {
      [name in Name]?: string;
    };
}

export const settingsRoutes = [
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "account",
    component: lazyRouteComponent(() => import("./account")),
  }),
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "keys",
    validateSearch: texts("user"),
    component: lazyRouteComponent(() => import("./keys")),
  }),
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "projects",
    component: lazyRouteComponent(() => import("./projects")),
  }),
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "users",
    validateSearch: texts("q"),
    component: lazyRouteComponent(() => import("./users")),
  }),
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "audit",
    validateSearch: texts("user", "action", "project"),
    component: lazyRouteComponent(() => import("./audit")),
  }),
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "server",
    validateSearch: texts("tab"),
    component: lazyRouteComponent(() => import("./server")),
  }),
] as const;
