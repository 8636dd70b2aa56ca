import type { Lineage } from "./queries";

/** Runs of one step that are not shown, and what leads to them. */
export type More = { id: string; step: string; count: number; from: string[] };

/**
 * A lineage without the older of many runs of one step: a value that every night's run uses has a graph that can be
 * read. What led to the artifact itself is never left out.
 */
export function folded(lineage: Lineage, most = 3): { shown: Lineage; more: More[] } {
  const before = reached(lineage.artifact, lineage, "up");
  const groups = new Map<string, Lineage["step_runs"]>();
  for (const each of lineage.step_runs) {
    if (before.has(each.id)) continue;
    const key = `${each.pipeline} ${each.step}`;
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  const hidden = new Set<string>();
  const more: More[] = [];
  for (const [key, all] of groups) {
    const older = [...all].sort((one, other) => other.created_at.localeCompare(one.created_at)).slice(most);
    if (older.length < 2) continue; // a box that stands for one is no shorter than that one
    for (const each of older) hidden.add(each.id);
    more.push({ id: `more ${key}`, step: older[0]?.step ?? "", count: older.length, from: [] });
  }
  if (hidden.size === 0) return { shown: lineage, more: [] };
  const left = {
    ...lineage,
    edges: lineage.edges.filter((each) => !hidden.has(each.source) && !hidden.has(each.target)),
  };
  const kept = new Set([...before, ...reached(lineage.artifact, left, "down")]);
  const shown = {
    ...lineage,
    artifacts: lineage.artifacts.filter((each) => kept.has(each.id)),
    step_runs: lineage.step_runs.filter((each) => kept.has(each.id) && !hidden.has(each.id)),
    edges: left.edges.filter((each) => kept.has(each.source) && kept.has(each.target)),
  };
  const steps = new Map(lineage.step_runs.map((each) => [each.id, `more ${each.pipeline} ${each.step}`]));
  for (const each of more)
    each.from = [
      ...new Set(
        lineage.edges
          .filter(
            ({ source, target }) => hidden.has(target) && steps.get(target) === each.id && kept.has(source),
          )
          .map(({ source }) => source),
      ),
    ];
  return { shown, more: more.filter((each) => each.from.length > 0) };
}

function reached(from: string, { edges }: Pick<Lineage, "edges">, way: "up" | "down"): Set<string> {
  const next = new Map<string, string[]>();
  for (const { source, target } of edges) {
    const [here, there] = way === "down" ? [source, target] : [target, source];
    next.set(here, [...(next.get(here) ?? []), there]);
  }
  const found = new Set([from]);
  const open = [from];
  for (let each = open.pop(); each !== undefined; each = open.pop())
    for (const one of next.get(each) ?? [])
      if (!found.has(one)) {
        found.add(one);
        open.push(one);
      }
  return found;
}
