import { QueryClient, queryOptions } from "@tanstack/react-query";
import { api, data } from "./client";
import { ApiError } from "./errors";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // What the server refuses it refuses again; a server that is away is waited for by the frame.
      retry: (count, error) => !(error instanceof ApiError && error.status !== 503) && count < 2,
      refetchOnWindowFocus: true,
    },
  },
});

export const me = queryOptions({
  queryKey: ["me"],
  queryFn: () => data(api.GET("/api/v1/me")),
  staleTime: 60_000,
});

export const info = queryOptions({
  queryKey: ["info"],
  queryFn: () => data(api.GET("/api/v1/info")),
  staleTime: 600_000,
});

export const projects = queryOptions({
  queryKey: ["projects"],
  queryFn: () => data(api.GET("/api/v1/projects", { params: { query: { limit: 1000 } } })),
  staleTime: 30_000,
});

/** A project and what the user is in it: `admin`, `editor` or `viewer`. */
export const project = (name: string) =>
  queryOptions({
    queryKey: ["project", name],
    queryFn: () => data(api.GET("/api/v1/projects/{project}", { params: { path: { project: name } } })),
    staleTime: 30_000,
  });
