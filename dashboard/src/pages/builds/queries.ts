import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

export type Build = components["schemas"]["Build"];
export type ImageView = components["schemas"]["ImageView"];
export type BuildLogView = components["schemas"]["BuildLogView"];

const PROJECT = "/api/v1/projects/{project}";
export const LIVE_MS = 1500;

export const buildList = (project: string, name = "", state = "") =>
  infiniteQueryOptions({
    queryKey: ["builds", project, name, state],
    queryFn: ({ pageParam }) =>
      data(
        api.GET(`${PROJECT}/builds`, {
          params: {
            path: { project },
            query: {
              limit: 100,
              ...(name ? { name: [name] } : {}),
              ...(state ? { state: [state] } : {}),
              ...(pageParam ? { after: pageParam } : {}),
            },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
    // What is being made ends, and what others begin appears.
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some((each) => each.state === "running"))
        ? LIVE_MS
        : 15_000,
  });

export const buildById = (project: string, id: string) =>
  queryOptions({
    queryKey: ["build", project, id],
    queryFn: () => data(api.GET(`${PROJECT}/builds/{id}`, { params: { path: { project, id } } })),
    refetchInterval: (query) => (query.state.data?.state === "running" ? LIVE_MS : false),
  });

/** Whether anybody still makes an image: asked without its log. */
export const heartbeat = (project: string, id: string) =>
  queryOptions({
    queryKey: ["build", project, id, "heard"],
    queryFn: () =>
      data(api.GET(`${PROJECT}/builds/{id}/log`, { params: { path: { project, id }, query: { limit: 0 } } })),
    refetchInterval: 10_000,
  });

export const logPart = (project: string, id: string, offset: number, signal?: AbortSignal) =>
  data(
    api.GET(`${PROJECT}/builds/{id}/log`, { params: { path: { project, id }, query: { offset } }, signal }),
  );

export const layersOf = (project: string, id: string) =>
  queryOptions({
    queryKey: ["build", project, id, "layers"],
    queryFn: () => data(api.GET(`${PROJECT}/builds/{id}/layers`, { params: { path: { project, id } } })),
    enabled: id !== "",
  });

/** Builds that wait for runners, or are on some. */
export const buildQueue = (project: string) =>
  queryOptions({
    queryKey: ["build-queue", project],
    queryFn: () =>
      data(api.GET(`${PROJECT}/build-queue`, { params: { path: { project }, query: { limit: 20 } } })),
    refetchInterval: (query) =>
      query.state.data?.items.some((each) => WAITING.includes(each.state)) ? LIVE_MS : 15_000,
  });

export const WAITING = ["queued", "leased", "started"];
