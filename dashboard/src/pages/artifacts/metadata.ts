import { count } from "@/ui/format";
import type { Artifact } from "./queries";

/** Metadata, flattened: `{a: {b: 1}}` is `a.b`. Lists, and what is nested deeper than people look, stay JSON. */
export function flat(metadata: Record<string, unknown> | undefined, deepest = 3): Array<[string, unknown]> {
  const found: Array<[string, unknown]> = [];
  const walk = (value: unknown, path: string, depth: number) => {
    if (value !== null && typeof value === "object" && !Array.isArray(value) && depth < deepest) {
      for (const [key, inner] of Object.entries(value)) walk(inner, path ? `${path}.${key}` : key, depth + 1);
    } else found.push([path, value]);
  };
  walk(metadata ?? {}, "", 0);
  return found.filter(([path]) => path !== "");
}

/** The names of numbers that are in the metadata of two versions at least, the most frequent first. */
export function charted(artifacts: Artifact[]): string[] {
  const counts = new Map<string, number>();
  for (const each of artifacts)
    for (const [key, value] of flat(each.metadata))
      if (typeof value === "number") counts.set(key, (counts.get(key) ?? 0) + 1);
  return [...counts]
    .filter(([, count]) => count > 1)
    .sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]))
    .map(([key]) => key);
}

/** Versions and one list of numbers for each key, from the oldest version to the newest, as uPlot wants them. */
export function series(artifacts: Artifact[], keys: string[]): [number[], ...Array<Array<number | null>>] {
  const ordered = [...artifacts].sort((one, other) => (one.version ?? 0) - (other.version ?? 0));
  const told = ordered.map((each) => new Map(flat(each.metadata)));
  return [
    ordered.map((each) => each.version ?? 0),
    ...keys.map((key) =>
      told.map((each) => {
        const value = each.get(key);
        return typeof value === "number" ? value : null;
      }),
    ),
  ];
}

/** A value of metadata in one line. */
export function shown(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" && Number.isInteger(value) && Math.abs(value) >= 10_000) return count(value);
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(6)));
  return JSON.stringify(value) ?? "";
}
