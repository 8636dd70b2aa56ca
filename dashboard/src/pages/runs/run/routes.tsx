import { createRoute, lazyRouteComponent } from "@tanstack/react-router";
import { projectRoute } from "@/routes";

export const TABS = ["graph", "timeline", "steps", "logs", "environments", "details"] as const;

export type RunSearch = {
  tab?: (typeof TABS)[number];
  step?: string; // whose details are open
  item?: number; // of it, where it is mapped
  alike?: boolean; // the steps like it instead
  state?: string; // of the steps that are listed
  items?: string; // state of the items, or of the steps alike, that are listed
  q?: string; // in the ids of the steps that are listed
  unfolded?: boolean; // steps that are alike are drawn one by one
  log?: string; // that is open
};

export const runRoute = createRoute({
  getParentRoute: () => projectRoute,
  path: "runs/$run",
  component: lazyRouteComponent(() => import("./run")),
  validateSearch: (given: Record<string, unknown>): RunSearch => {
    const text = (name: string) => (typeof given[name] === "string" && given[name] ? given[name] : undefined);
    const item = Number(given.item);
    return {
      ...given,
      tab: TABS.find((each) => each === given.tab),
      // An id that looks like a number comes as one.
      step: given.step === undefined || given.step === "" ? undefined : String(given.step),
      item: given.item !== undefined && Number.isInteger(item) && item >= 0 ? item : undefined,
      alike: given.alike === true || undefined,
      state: text("state"),
      items: text("items"),
      q: given.q === undefined || given.q === "" ? undefined : String(given.q),
      unfolded: given.unfolded === true || undefined,
      log: text("log"),
    };
  },
});
