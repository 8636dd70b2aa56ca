import { Handle, type NodeProps, Position, type Node as XyNode } from "@xyflow/react";
import clsx from "clsx";
import { memo } from "react";
import { between, count, duration } from "@/ui/format";
import { colourOf, State } from "@/ui/state";
import type { Drawn } from "./fold";
import type { RunNode } from "./graph-data";
import { HEIGHT, WIDTH } from "./layout";
import { ORDER } from "./live";

export type StepNodeData = { drawn: Drawn; now: number; open: (drawn: Drawn) => void; lit: boolean };
export type StepNode = XyNode<StepNodeData, "step">;

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

/** What is told of a step beneath its name. */
export function note(node: RunNode, now: number): string {
  const last = node.last;
  if (node.state === "cached") return "reused";
  if (!last?.started_at || node.state === "skipped") return "";
  return duration(between(last.started_at, last.finished_at, now));
}

function StepNodeView({ data, selected }: NodeProps<StepNode>) {
  const { drawn, now, open, lit } = data;
  const first = drawn.members[0] as RunNode;
  const several = drawn.members.length > 1;
  const counted = drawnCounts(drawn);
  const state = drawnState(drawn);
  const done = counted?.counts.reduce((sum, [, each]) => sum + each, 0) ?? 0;
  const told = several
    ? `${count(drawn.members.length)} steps alike`
    : counted
      ? `${count(done)} of ${counted.total === null ? "?" : count(counted.total)} items`
      : note(first, now);
  return (
    <>
      <Handle type="target" position={Position.Left} isConnectable={false} className="opacity-0!" />
      {(several || counted) && (
        <span
          aria-hidden
          className="absolute inset-x-1.5 -bottom-1.5 h-3 rounded-b-lg border border-line-strong bg-surface"
        />
      )}
      <button
        type="button"
        data-step={first.id}
        aria-pressed={selected}
        onClick={() => open(drawn)}
        className={clsx(
          "nopan relative flex flex-col justify-center gap-0.5 overflow-hidden rounded-lg border bg-surface px-3 text-left shadow-card hover:border-accent",
          selected ? "border-accent ring-2 ring-accent" : lit ? "border-accent" : "border-line-strong",
        )}
        style={{ width: WIDTH, height: HEIGHT }}
      >
        <span className="flex min-w-0 items-center gap-1.5">
          <span className="truncate text-[13px] font-medium" title={first.id}>
            {first.id}
          </span>
        </span>
        <span className="flex min-w-0 items-center gap-2 text-xs text-muted">
          <State state={state} bare />
          <span className="truncate tabular-nums">{told}</span>
        </span>
        {counted && <CountBar counts={counted.counts} total={counted.total} />}
      </button>
      <Handle type="source" position={Position.Right} isConnectable={false} className="opacity-0!" />
    </>
  );
}

export const StepNodeMemo = memo(StepNodeView);
