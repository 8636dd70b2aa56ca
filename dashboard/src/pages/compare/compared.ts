/** What two to five runs have in common, and what not. */

import type { components } from "@/api/schema";

type Run = components["schemas"]["Run"];
type StepRun = components["schemas"]["StepRun"];
type Environment = components["schemas"]["Environment"];
type Artifact = components["schemas"]["Artifact"];

/** Something of each run, in the order of the runs; undefined: this one has none. */
export type Row<T = unknown> = { name: string; values: Array<T | undefined>; same: boolean };

export const FEWEST = 2;
export const MOST = 5;

/** The names in an address: `a,b`, each once. */
export function readRuns(value: unknown): string[] {
  const text = typeof value === "string" ? value : "";
  return [...new Set(text.split(",").map((each) => each.trim()))].filter(Boolean);
}

/** One row for each name that any of them has. */
export function rows<T>(of: Array<Record<string, T>>): Row<T>[] {
  const names = [...new Set(of.flatMap((each) => Object.keys(each)))].sort();
  return names.map((name) => {
    const values = of.map((each) => (Object.hasOwn(each, name) ? each[name] : undefined));
    return { name, values, same: isSame(values) };
  });
}

export function isSame(values: unknown[]): boolean {
  const [first, ...rest] = values.map((each) => (each === undefined ? undefined : canonical(each)));
  return rest.every((each) => each === first);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, each) =>
    each && typeof each === "object" && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

/** The last attempt of each step, by its name. */
export function lastAttempts(steps: StepRun[]): Map<string, StepRun> {
  const last = new Map<string, StepRun>();
  for (const each of steps) {
    const known = last.get(each.step);
    if (!known || (known.attempt ?? 1) <= (each.attempt ?? 1)) last.set(each.step, each);
  }
  return last;
}

/** What a run and its steps logged; a step's under `STEP.NAME`. */
export function logged(run: Run, steps: StepRun[]): Record<string, unknown> {
  const found: Record<string, unknown> = { ...run.metadata };
  for (const [step, each] of lastAttempts(steps))
    for (const [name, value] of Object.entries(each.metadata ?? {})) found[`${step}.${name}`] = value;
  return found;
}

export type Logged = {
  numbers: Row<number>[];
  series: Row<number[]>[]; // lists of numbers, as of a loss by epoch
  others: Row[];
};

/** What was logged, by how it is drawn. */
export function kinds(all: Row[]): Logged {
  const numbers: Row<number>[] = [];
  const series: Row<number[]>[] = [];
  const others: Row[] = [];
  for (const row of all) {
    const given = row.values.filter((each) => each !== undefined);
    if (given.every((each) => typeof each === "number")) numbers.push(row as Row<number>);
    else if (given.every((each) => isSeries(each))) series.push(row as Row<number[]>);
    else others.push(row);
  }
  return { numbers, series, others };
}

function isSeries(value: unknown): boolean {
  return Array.isArray(value) && value.length > 1 && value.every((each) => typeof each === "number");
}

/** Seconds that each step took, by its name. */
export function stepSeconds(steps: StepRun[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [step, each] of lastAttempts(steps))
    if (each.started_at && each.finished_at)
      found[step] = (Date.parse(each.finished_at) - Date.parse(each.started_at)) / 1000;
  return found;
}

export type Compared = {
  name: string;
  digests: Row<string>;
  facts: Row<string>[];
  packages: Row<string>[]; // those that differ
  shared: number; // packages that are the same in all
};

/** Each environment that any of the runs has, and the packages in which they differ. */
export function environments(of: Array<Record<string, string>>, known: Map<string, Environment>): Compared[] {
  return rows(of).map((digests) => {
    const found = digests.values.map((each) => (each ? known.get(each) : undefined));
    const packages = rows(
      found.map((each) => Object.fromEntries((each?.packages ?? []).map((one) => [one.name, one.version]))),
    );
    const facts = rows(
      found.map(
        (each): Record<string, string> =>
          each
            ? {
                Python: each.python ?? "",
                platform: each.platform ?? "",
                ...(each.base && { base: each.base }),
                ...Object.fromEntries(
                  Object.entries(each.variables ?? {}).map(([name, value]) => [`$${name}`, value]),
                ),
              }
            : {},
      ),
    );
    return {
      name: digests.name,
      digests,
      facts,
      packages: packages.filter((each) => !each.same),
      shared: packages.filter((each) => each.same).length,
    };
  });
}

/** Digest of each environment of a run, under the names that the run has for them; the client's too. */
export function digestsOf(run: Run): Record<string, string> {
  const client = run.client?.environment;
  return { ...(client && { "the client’s own": client }), ...run.environments };
}

/** The artifacts of each run, by the step and output they are of. */
export function artifacts(of: Artifact[][]): Row<Artifact>[] {
  const named = of.map((each) => Object.fromEntries(each.map((one) => [one.name, one])));
  return rows(named).map((row) => ({ ...row, same: isSame(row.values.map((each) => each?.digest)) }));
}
