import { createRootRoute, createRoute, Outlet, redirect } from "@tanstack/react-router";
import { lastProject, rememberProject } from "@/shell/project";
import { projects as projectsQuery, queryClient } from "./api/queries";
import { Broken, NotThere } from "./shell/broken";
import { Frame } from "./shell/frame";

/** The routes that pages hang from. Each area names its own in `pages/AREA/routes.tsx`. */
export const rootRoute = createRootRoute({
  component: Frame,
  notFoundComponent: NotThere,
  errorComponent: Broken,
});

export const homeRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/",
  beforeLoad: async () => {
    const { items } = await queryClient.ensureQueryData(projectsQuery);
    const last = lastProject();
    const project = items.some((each) => each.name === last) ? last : items[0]?.name;
    if (project) throw redirect({ to: "/p/$project/overview", params: { project } });
    throw redirect({ to: "/setup" });
  },
});

export const projectRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/p/$project",
  beforeLoad: ({ params }) => rememberProject(params.project),
  component: Outlet,
});

export const projectHomeRoute = createRoute({
  getParentRoute: () => projectRoute,
  path: "/",
  beforeLoad: ({ params }) => {
    throw redirect({ to: "/p/$project/overview", params });
  },
});

export const settingsRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/settings",
  component: Outlet,
});

export const settingsHomeRoute = createRoute({
  getParentRoute: () => settingsRoute,
  path: "/",
  beforeLoad: () => {
    throw redirect({ to: "/settings/account" });
  },
});
