import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const memberRoutes = [
  createRoute({
    getParentRoute: () => projectRoute,
    path: "members",
    component: lazyRouteComponent(() => import("./members")),
  }),
] as const;
