import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

type Schemas = components["schemas"];
export type Passage = Schemas["Passage"];
export type Passed = Schemas["PassedEnvironment"];
export type Environment = Schemas["Environment"];
export type EnvironmentView = Schemas["EnvironmentView"];
export type PackageView = Schemas["PackageView"];
export type EnvironmentDiff = Schemas["EnvironmentDiff"];
export type EnvironmentCheck = Schemas["EnvironmentCheck"];
export type Build = Schemas["Build"];
export type BuiltLayer = Schemas["BuiltLayer"];

const PROJECT = "/api/v1/projects/{project}";

/** The environments that the newest run of a pipeline passed through, or this run. */
export const passage = (project: string, pipeline: string, run: string) =>
  queryOptions({
    queryKey: ["passage", project, pipeline, run],
    queryFn: () =>
      run
        ? data(api.GET(`${PROJECT}/runs/{run}/environments`, { params: { path: { project, run } } }))
        : data(
            api.GET(`${PROJECT}/pipelines/{pipeline}/environments`, {
              params: { path: { project, pipeline } },
            }),
          ),
    enabled: pipeline !== "" || run !== "",
  });

/** The pipelines of a project, by name. */
export const pipelineNames = (project: string) =>
  queryOptions({
    queryKey: ["pipelines", project, "names"],
    queryFn: () =>
      data(api.GET(`${PROJECT}/pipelines`, { params: { path: { project }, query: { limit: 100 } } })),
    staleTime: 30_000,
  });

/** The newest runs of a pipeline; of all where none is named. */
export const runsOf = (project: string, pipeline: string, limit = 50) =>
  queryOptions({
    queryKey: ["run-rows", project, "environments of", pipeline, limit],
    queryFn: () =>
      data(
        api.GET(`${PROJECT}/run-rows`, {
          params: {
            path: { project },
            query: { limit, ...(pipeline ? { pipeline: [pipeline] } : {}) },
          },
        }),
      ),
  });

/** Recorded environments, newest first. */
export const environmentList = (project: string, name = "", role = "") =>
  infiniteQueryOptions({
    queryKey: ["environments", project, name, role],
    queryFn: ({ pageParam }) =>
      data(
        api.GET(`${PROJECT}/environments`, {
          params: {
            path: { project },
            query: {
              limit: 50,
              ...(name ? { name: [name] } : {}),
              ...(role ? { role: [role] } : {}),
              ...(pageParam ? { after: pageParam } : {}),
            },
          },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
  });

export const contents = (project: string, id: string) =>
  queryOptions({
    queryKey: ["environment", project, id],
    queryFn: () =>
      data(api.GET(`${PROJECT}/environments/{id}/contents`, { params: { path: { project, id } } })),
  });

export const users = (project: string, id: string) =>
  infiniteQueryOptions({
    queryKey: ["environment", project, id, "users"],
    queryFn: ({ pageParam }) =>
      data(
        api.GET(`${PROJECT}/environments/{id}/users`, {
          params: { path: { project, id }, query: { limit: 10, ...(pageParam ? { after: pageParam } : {}) } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
  });

export const difference = (project: string, id: string, other: string) =>
  queryOptions({
    queryKey: ["environment", project, id, "diff", other],
    queryFn: () =>
      data(
        api.GET(`${PROJECT}/environments/{id}/diff/{other}`, { params: { path: { project, id, other } } }),
      ),
    enabled: id !== "" && other !== "",
  });

/** Where a browser gets an environment as a file. */
export function exportAddress(project: string, id: string, form: string): string {
  return `/api/v1/projects/${encodeURIComponent(project)}/environments/${encodeURIComponent(id)}/export/${form}`;
}
