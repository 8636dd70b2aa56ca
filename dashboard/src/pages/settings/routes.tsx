import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { settingsRoute } from "@/routes";

export const settingsRoutes = [
  createRoute({
    getParentRoute: () => settingsRoute,
    path: "account",
    component: lazyRouteComponent(() => import("./account")),
  }),
] as const;
