import { infiniteQueryOptions, keepPreviousData, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

export type Snapshot = components["schemas"]["Snapshot"];
export type Launch = components["schemas"]["Launch"];

/** As people write it: `nightly:3`. */
export function labelOf(snapshot: Pick<Snapshot, "name" | "version">): string {
  return `${snapshot.name}:${snapshot.version ?? 0}`;
}

export const snapshots = (project: string, name = "", pipeline = "") =>
  infiniteQueryOptions({
    queryKey: ["snapshots", project, name, pipeline],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/snapshots", {
          params: {
            path: { project },
            query: {
              limit: 100,
              after: pageParam,
              ...(name ? { name: [name] } : {}),
              ...(pipeline ? { pipeline: [pipeline] } : {}),
            },
          },
        }),
      ),
    getNextPageParam: (page) => page.next ?? undefined,
  });

export const snapshot = (project: string, id: string) =>
  queryOptions({
    queryKey: ["snapshot", project, id],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/snapshots/{id}", { params: { path: { project, id } } })),
  });

/** The newest version of each name among the newest snapshots: what schedules and webhooks choose from. */
export const newest = (project: string) =>
  queryOptions({
    queryKey: ["snapshots", project, "newest"],
    queryFn: async () => {
      const { items } = await data(
        api.GET("/api/v1/projects/{project}/snapshots", {
          params: { path: { project }, query: { limit: 1000, order: "-created_at" } },
        }),
      );
      const found = new Map<string, Snapshot>();
      for (const each of items) {
        const before = found.get(each.name);
        if (!before || (before.version ?? 0) < (each.version ?? 0)) found.set(each.name, each);
      }
      return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
    },
  });

const OVER = new Set(["ended", "failed", "cancelled", "skipped"]);

const RUN_OVER = new Set(["completed", "cached", "failed", "cancelled", "skipped"]);

export function isOver(launch: Launch): boolean {
  return OVER.has(launch.state ?? "queued");
}

/** Runs of launches, by their ids: what a launch that was started is doing. */
export const runsOf = (project: string, launches: Launch[]) => {
  const ids = launches.map((each) => each.run ?? "").filter(Boolean);
  const going = launches.some((each) => !isOver(each));
  return queryOptions({
    // With their states: what a launch says is news of its run.
    queryKey: ["launches", project, "runs", ids, launches.map((each) => each.state)],
    queryFn: async () => {
      const { items } = await data(
        api.GET("/api/v1/projects/{project}/runs", {
          params: { path: { project }, query: { id: ids, limit: Math.max(1, ids.length) } },
        }),
      );
      return new Map(items.map((each) => [each.id, each]));
    },
    enabled: ids.length > 0,
    refetchInterval: ({ state }) =>
      going || [...(state.data?.values() ?? [])].some((each) => !RUN_OVER.has(each.state ?? ""))
        ? 2000
        : false,
    placeholderData: keepPreviousData,
  });
};
