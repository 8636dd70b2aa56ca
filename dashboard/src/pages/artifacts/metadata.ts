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

/** The names of numbers that two versions have at least: those that change first, then the most frequent. */
export function charted(artifacts: Artifact[]): string[] {
  const found = new Map<string, number[]>();
  for (const each of artifacts)
    for (const [key, value] of flat(each.metadata))
      if (typeof value === "number") {
        const values = found.get(key);
        if (values) values.push(value);
        else found.set(key, [value]);
      }
  const all = [...found].filter(([, values]) => values.length > 1);
  const told = all.map(([key, values]) => ({
    key,
    changes: values.some((each) => each !== values[0]) ? 1 : 0,
    count: values.length,
  }));
  return told
    .sort(
      (one, other) =>
        other.changes - one.changes || other.count - one.count || one.key.localeCompare(other.key),
    )
    .map(({ key }) => key);
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
