import type { components } from "@/api/schema";

type Schemas = components["schemas"];
export type Run = Schemas["Run"];
export type RunGraph = Schemas["RunGraph"];
export type RunNode = Schemas["RunNode"];
export type RunEdge = Schemas["RunEdge"];
export type RunAttempt = Schemas["RunAttempt"];
export type StepRun = Schemas["StepRun"];
export type StepDetail = Schemas["StepDetail"];
export type Failure = Schemas["Failure"];
export type State = Schemas["State"];

const FINAL: ReadonlySet<string> = new Set(["completed", "cached", "failed", "cancelled", "skipped"]);

/** Whether nothing changes any more. */
export function isFinal(state: string | undefined): boolean {
  return FINAL.has(state ?? "");
}

/** A run's state as people read it: one that says it runs while nobody drives it was interrupted. */
export function runState(graph: RunGraph): string {
  return graph.run.state === "running" && !graph.driven ? "interrupted" : (graph.run.state ?? "running");
}
