import { infiniteQueryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { components } from "@/api/schema";
import { type Filters, question } from "./filters";

export type RunRow = components["schemas"]["RunRow"];
export type Action = "cancel" | "delete" | "tag" | "untag";
export type Done = components["schemas"]["ActionDone"];

/** Pages of runs. One may have none and a next: the server looks through a bounded number at a time. */
export const runRows = (project: string, filters: Filters, limit = 100) =>
  infiniteQueryOptions({
    queryKey: ["run-rows", project, filters, limit],
    queryFn: ({ pageParam, signal }) =>
      data(
        api.GET("/api/v1/projects/{project}/run-rows", {
          params: { path: { project }, query: { ...question(filters, Date.now()), limit, after: pageParam } },
          signal,
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
    refetchInterval: ({ state }) => {
      const pages = state.data?.pages ?? [];
      // Many pages are not fetched again and again; what runs is on the first.
      if (pages.length > 3) return false;
      return pages.some((page) => page.items.some((each) => isUnderWay(each.state))) ? 5_000 : 30_000;
    },
  });

export function isUnderWay(state: string): boolean {
  return state === "running" || state === "queued";
}

/** Do something to many runs; gives what came of it for each. */
export async function act(
  project: string,
  action: Action,
  runs: string[],
  tags: string[] = [],
): Promise<Done[]> {
  const done: Done[] = [];
  for (let at = 0; at < runs.length; at += 200) {
    const { items } = await data(
      api.POST("/api/v1/projects/{project}/run-actions", {
        params: { path: { project } },
        body: { action, runs: runs.slice(at, at + 200), tags },
      }),
    );
    done.push(...items);
  }
  for (const key of ["run-rows", "overview", "pipelines", "pipeline"])
    void queryClient.invalidateQueries({ queryKey: [key, project] });
  return done;
}
