import { createRouter } from "@tanstack/react-router";
import { artifactRoutes } from "./pages/artifacts/routes";
import { buildRoutes } from "./pages/builds/routes";
import { compareRoutes } from "./pages/compare/routes";
import { environmentRoutes } from "./pages/environments/routes";
import { memberRoutes } from "./pages/members/routes";
import { overviewRoutes } from "./pages/overview/routes";
import { pipelineRoutes } from "./pages/pipelines/routes";
import { runRoutes } from "./pages/runs/routes";
import { scheduleRoutes } from "./pages/schedules/routes";
import { secretRoutes } from "./pages/secrets/routes";
import { settingsRoutes } from "./pages/settings/routes";
import { setupRoutes } from "./pages/setup/routes";
import { snapshotRoutes } from "./pages/snapshots/routes";
import { stackRoutes } from "./pages/stacks/routes";
import { webhookRoutes } from "./pages/webhooks/routes";
import {
  homeRoute,
  projectHomeRoute,
  projectRoute,
  rootRoute,
  settingsHomeRoute,
  settingsRoute,
} from "./routes";
import { Broken, NotThere } from "./shell/broken";
import { Loading } from "./ui/said";

const tree = rootRoute.addChildren([
  homeRoute,
  projectRoute.addChildren([
    projectHomeRoute,
    ...overviewRoutes,
    ...pipelineRoutes,
    ...runRoutes,
    ...compareRoutes,
    ...environmentRoutes,
    ...buildRoutes,
    ...artifactRoutes,
    ...snapshotRoutes,
    ...scheduleRoutes,
    ...webhookRoutes,
    ...stackRoutes,
    ...secretRoutes,
    ...memberRoutes,
  ]),
  settingsRoute.addChildren([settingsHomeRoute, ...settingsRoutes]),
  ...setupRoutes,
]);

export const router = createRouter({
  routeTree: tree,
  defaultPreload: "intent", // a page's code comes while one points at its link
  defaultPreloadStaleTime: 0,
  defaultPendingComponent: () => <Loading />,
  defaultErrorComponent: Broken,
  defaultNotFoundComponent: NotThere,
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
