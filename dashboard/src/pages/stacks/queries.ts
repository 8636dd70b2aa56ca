import { queryOptions } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";

type Schemas = components["schemas"];
export type Stack = Schemas["Stack"];
export type Component = Schemas["Component"];
export type Flavor = Schemas["FlavorView"];
export type Setting = Schemas["FlavorSetting"];
export type ComponentType = Schemas["ComponentTypeView"];

export const catalogue = (project: string, of: string) =>
  queryOptions({
    queryKey: ["stacks", project, of],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/stack-catalogue", {
          params: { path: { project }, query: of ? { of } : {} },
        }),
      ),
  });

export const flavors = queryOptions({
  queryKey: ["flavors"],
  queryFn: () => data(api.GET("/api/v1/flavors")),
  staleTime: 600_000,
});

/** A type as it is spoken of: `artifact store`. */
export function typeLabel(type: string): string {
  return type.replaceAll("_", " ");
}
