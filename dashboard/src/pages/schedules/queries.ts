import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

export type Schedule = components["schemas"]["Schedule"];
export type When = components["schemas"]["When"];

export const schedules = (project: string) =>
  queryOptions({
    queryKey: ["schedules", project],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/schedules", {
          params: { path: { project }, query: { limit: 1000, order: "name" } },
        }),
      ),
    refetchInterval: 15_000,
  });

export const schedule = (project: string, name: string) =>
  queryOptions({
    queryKey: ["schedules", project, name],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/schedules/{name}", { params: { path: { project, name } } })),
    refetchInterval: 15_000,
  });

/** When the runs of a schedule would be due; wrong words are an error. */
export const times = (project: string, when: When) =>
  queryOptions({
    queryKey: ["times", project, when],
    queryFn: () =>
      data(
        api.POST("/api/v1/projects/{project}/schedules/times", { params: { path: { project } }, body: when }),
      ),
    staleTime: 30_000,
    retry: false,
  });
