import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { merge } from "./live";
import { isFinal, type RunGraph, type State, type StepDetail } from "./model";

export const graphKey = (project: string, run: string) => ["run-graph", project, run] as const;

/** A run and its graph; `run` is a name or an id. */
export const graphQuery = (project: string, run: string) =>
  queryOptions({
    queryKey: graphKey(project, run),
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/runs/{run}/graph", { params: { path: { project, run } } })),
    staleTime: Number.POSITIVE_INFINITY, // events keep it up to date
    refetchOnWindowFocus: false,
    structuralSharing: (known, answer) => merge(known as RunGraph | undefined, answer as RunGraph),
    // Whether somebody still drives it, no event tells.
    refetchInterval: (query) => (isFinal(query.state.data?.run.state) || query.state.error ? false : 30_000),
  });

/** One step of a run, or one item of it, with all that is known of it. `at`: the revision that it is asked for at. */
export const stepQuery = (project: string, run: string, step: string, index: number | null, at: string) =>
  queryOptions({
    queryKey: ["run-step", project, run, step, index, at],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/runs/{run}/steps/{step}", {
          params: { path: { project, run, step }, query: index === null ? {} : { index } },
        }),
      ),
    staleTime: Number.POSITIVE_INFINITY,
    placeholderData: (before: StepDetail | undefined) =>
      before && before.step === step && before.index === index ? before : undefined,
  });

/** Items of a mapped step by index, page after page. */
export const itemsQuery = (project: string, run: string, step: string, states: State[]) =>
  infiniteQueryOptions({
    queryKey: ["run-items", project, run, step, states.join()],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/runs/{run}/steps/{step}/items", {
          params: {
            path: { project, run, step },
            query: {
              limit: 500,
              ...(states.length ? { state: states } : {}),
              ...(pageParam ? { after: pageParam } : {}),
            },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next || undefined,
    staleTime: 5_000,
  });
