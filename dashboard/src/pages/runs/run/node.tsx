import { Handle, type NodeProps, Position, type Node as XyNode } from "@xyflow/react";
import clsx from "clsx";
import { memo } from "react";
import { between, count, duration, plural } from "@/ui/format";
import { State } from "@/ui/state";
import { CountBar, drawnCounts, drawnState } from "./counts";
import type { Drawn } from "./fold";
import { HEIGHT, WIDTH } from "./layout";
import type { RunNode } from "./model";

export type StepNodeData = { drawn: Drawn; now: number; open: (drawn: Drawn) => void; lit: boolean };
export type StepNode = XyNode<StepNodeData, "step">;

/** What the function of a step is called, without its module. */
export function functionName(node: RunNode): string {
  return node.function?.split(/[:.]/).pop() || node.id;
}

/** What is told of a step beneath its name. */
export function note(node: RunNode, now: number): string {
  const last = node.last;
  if (node.state === "cached") return "reused";
  if (!last?.started_at || node.state === "skipped") return "";
  return duration(between(last.started_at, last.finished_at, now));
}

function itemsTold(done: number, total: number | null, state: string): string {
  if (done === 0 && state === "cached") return total === null ? "reused" : `${count(total)} items reused`;
  return done === total
    ? plural(done, "item")
    : `${count(done)} of ${total === null ? "?" : count(total)} items`;
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
      ? itemsTold(done, counted.total, state)
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
          "nopan pointer-events-auto relative flex flex-col justify-center gap-0.5 overflow-hidden rounded-lg border bg-surface px-3 text-left shadow-card hover:border-accent",
          selected ? "border-accent ring-2 ring-accent" : lit ? "border-accent" : "border-line-strong",
        )}
        style={{ width: WIDTH, height: HEIGHT }}
      >
        <span className="flex min-w-0 items-center gap-1.5">
          <span className="truncate text-[13px] font-medium" title={first.id}>
            {several ? functionName(first) : first.id}
          </span>
        </span>
        <span className="flex min-w-0 items-center gap-2 text-xs text-muted">
          <State state={state} bare />
          <span className="truncate tabular-nums">{told}</span>
        </span>
        {counted && counted.counts.length > 0 && <CountBar counts={counted.counts} total={counted.total} />}
      </button>
      <Handle type="source" position={Position.Right} isConnectable={false} className="opacity-0!" />
    </>
  );
}

export const StepNodeMemo = memo(StepNodeView);
