import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

export type Webhook = components["schemas"]["WebhookView"];

export const webhooks = (project: string) =>
  queryOptions({
    queryKey: ["webhooks", project],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/webhooks", {
          params: { path: { project }, query: { limit: 1000 } },
        }),
      ),
    refetchInterval: 15_000,
  });
