import { colourOf } from "@/ui/state";
import type { Drawn } from "./fold";
import { ORDER } from "./live";
import type { RunNode } from "./model";

/** The state of what is drawn: of several steps, what one would look at first. */
export function drawnState(drawn: Drawn): string {
  const states = new Set<string>(drawn.members.map((each) => each.state));
  return ORDER.find((each) => states.has(each)) ?? "queued";
}

/** How many of what is drawn are in each state; nothing for one step that is not mapped. */
export function drawnCounts(drawn: Drawn): { counts: Array<[string, number]>; total: number | null } | null {
  const first = drawn.members[0] as RunNode;
  if (drawn.members.length > 1) {
    const counts = new Map<string, number>();
    for (const each of drawn.members) counts.set(each.state, (counts.get(each.state) ?? 0) + 1);
    return { counts: inOrder(counts), total: drawn.members.length };
  }
  if (!first.items) return null;
  return { counts: inOrder(new Map(Object.entries(first.items.counts))), total: first.items.total };
}

function inOrder(counts: ReadonlyMap<string, number>): Array<[string, number]> {
  return ORDER.filter((each) => counts.get(each)).map((each) => [each, counts.get(each) ?? 0]);
}

/** A bar whose parts are as long as there are things in each state. */
export function CountBar({ counts, total }: { counts: Array<[string, number]>; total: number | null }) {
  const told = counts.reduce((sum, [, each]) => sum + each, 0);
  const all = Math.max(total ?? told, told, 1);
  return (
    <span aria-hidden className="flex h-1 w-full overflow-hidden rounded-full bg-line">
      {counts.map(([state, each]) => (
        <span key={state} style={{ width: `${(each / all) * 100}%`, background: colourOf(state) }} />
      ))}
    </span>
  );
}
