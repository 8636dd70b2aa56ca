import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

export type Secret = components["schemas"]["SecretView"];

/** Names of a project's secrets, never their values. */
export const secrets = (project: string) =>
  queryOptions({
    queryKey: ["secrets", project],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/secrets", {
          params: { path: { project }, query: { limit: 1000 } },
        }),
      ),
  });
