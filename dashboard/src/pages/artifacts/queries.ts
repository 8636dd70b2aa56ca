import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { ApiError } from "@/api/errors";
import type { components } from "@/api/schema";

type Schemas = components["schemas"];
export type Artifact = Schemas["Artifact"];
export type ArtifactFiles = Schemas["ArtifactFiles"];
export type ArtifactFile = Schemas["ArtifactFile"];
export type ColumnSummary = Schemas["ColumnSummary"];
export type Lineage = Schemas["Lineage"];
export type Table = Schemas["Table"];

/** What an artifact is, never changes; only what is said of its files does, when they are lost. */
const STILL = 300_000;

export const names = (project: string, search: string, type: string, tag: string) =>
  infiniteQueryOptions({
    queryKey: ["artifact-names", project, search, type, tag],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/artifact-names", {
          params: { path: { project }, query: { search, type, tag, after: pageParam, limit: 100 } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
  });

/** The artifacts that a run gave, by the run's name; newest first. */
export const ofRun = (project: string, run: string) =>
  infiniteQueryOptions({
    queryKey: ["artifacts-of-run", project, run],
    queryFn: async ({ pageParam }) => {
      const { items } = await data(
        api.GET("/api/v1/projects/{project}/runs", {
          params: { path: { project }, query: { name: [run], limit: 1 } },
        }),
      );
      const found = items[0];
      if (!found)
        throw new ApiError(404, "NotFound", `there is no run \`${run}\``, "it was deleted, or never was");
      return data(
        api.GET("/api/v1/projects/{project}/artifacts", {
          params: { path: { project }, query: { run: [found.id], limit: 200, after: pageParam } },
        }),
      );
    },
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next,
  });

export const versions = (project: string, name: string) =>
  infiniteQueryOptions({
    queryKey: ["artifact-versions", project, name],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts", {
          params: { path: { project }, query: { name: [name], limit: 200, after: pageParam } },
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last) => last.next,
  });

export const version = (project: string, name: string, number: string) =>
  queryOptions({
    queryKey: ["artifact", project, name, number],
    queryFn: async () => {
      const { items } = await data(
        api.GET("/api/v1/projects/{project}/artifacts", {
          params: { path: { project }, query: { name: [name], version: [number], limit: 1 } },
        }),
      );
      const found = items[0];
      if (!found)
        throw new ApiError(
          404,
          "NotFound",
          `there is no artifact \`${name}@${number}\``,
          "it was deleted, or never was",
          "the list of artifacts shows what there is",
        );
      return found;
    },
    staleTime: STILL,
  });

/** Names of runs by their ids; those that were deleted are left out. */
export const runNames = (project: string, ids: string[]) =>
  queryOptions({
    queryKey: ["run-names", project, ids],
    queryFn: async () => {
      const found = new Map<string, string>();
      for (let at = 0; at < ids.length; at += 500) {
        const page = await data(
          api.POST("/api/v1/projects/{project}/runs/query", {
            params: { path: { project } },
            body: { where: { id: ids.slice(at, at + 500) }, limit: 500 },
          }),
        );
        for (const each of page.items) found.set(each.id, each.name ?? "");
      }
      return found;
    },
    enabled: ids.length > 0,
    staleTime: STILL,
  });

export const files = (project: string, id: string) =>
  queryOptions({
    queryKey: ["artifact-files", project, id],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/artifacts/{id}/files", { params: { path: { project, id } } })),
    staleTime: STILL,
  });

export const lineage = (project: string, id: string, depth: number) =>
  queryOptions({
    queryKey: ["lineage", project, id, depth],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts/{id}/lineage", {
          params: { path: { project, id }, query: { depth } },
        }),
      ),
    staleTime: 30_000,
  });

export const table = (project: string, id: string, file: string, row: number, column: number) =>
  queryOptions({
    queryKey: ["artifact-table", project, id, file, row, column],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts/{id}/table", {
          params: { path: { project, id }, query: { file, row, column, rows: ROWS, columns: COLUMNS } },
        }),
      ),
    staleTime: STILL,
  });
export const ROWS = 100;
export const COLUMNS = 50;

export const columns = (project: string, id: string, file: string) =>
  infiniteQueryOptions({
    queryKey: ["artifact-columns", project, id, file],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts/{id}/columns", {
          params: { path: { project, id }, query: { file, first: pageParam, count: 12 } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (last) => {
      const next = last.first + last.items.length;
      return next < last.total_columns ? next : null;
    },
    staleTime: STILL,
  });

export const items = (project: string, id: string) =>
  infiniteQueryOptions({
    queryKey: ["artifact-items", project, id],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts/{id}/items", {
          params: { path: { project, id }, query: { after: pageParam, limit: 100 } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next,
    staleTime: STILL,
  });
