import { useMemo } from "react";
import { bytes, count, duration } from "@/ui/format";
import { SearchField, Select } from "@/ui/input";
import { Empty } from "@/ui/said";
import { State } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Took } from "@/ui/time";
import { ORDER } from "./live";
import { isFinal, type RunGraph, type RunNode } from "./model";

/** Why a step was reused or had to run, or what it failed of, in one line. */
export function reason(node: RunNode): string {
  const failure = node.last?.failure;
  if (failure) return [failure.type, failure.message || failure.reason].filter(Boolean).join(": ");
  return node.last?.cache_reason ?? "";
}

function took(node: RunNode): number | null {
  const { started_at: from, finished_at: to } = node.last ?? {};
  return from && to && node.state !== "skipped" ? (Date.parse(to) - Date.parse(from)) / 1000 : null;
}

/** Steps as a table. */
export function StepTable({
  name,
  nodes,
  onOpen,
  state = "",
  q = "",
  onFilter,
  height,
}: {
  name: string;
  nodes: readonly RunNode[];
  onOpen: (step: string) => void;
  state?: string;
  q?: string;
  onFilter: (change: { state?: string; q?: string }) => void;
  height?: string;
}) {
  const rows = useMemo(
    () =>
      nodes.filter(
        (each) => (!state || each.state === state) && (!q || each.id.toLowerCase().includes(q.toLowerCase())),
      ),
    [nodes, state, q],
  );
  const columns = useMemo<Column<RunNode>[]>(
    () => [
      {
        id: "step",
        header: "step",
        fixed: true,
        width: 160,
        grow: 2,
        sort: (row) => row.id,
        cell: (row) => (
          <button
            type="button"
            className="max-w-full truncate font-medium hover:underline"
            onClick={() => onOpen(row.id)}
          >
            {row.id}
          </button>
        ),
      },
      {
        id: "state",
        header: "state",
        width: 110,
        grow: 0,
        sort: (row) => ORDER.indexOf(row.state),
        cell: (row) => <State state={row.state} />,
      },
      {
        id: "took",
        header: "took",
        width: 80,
        grow: 0,
        align: "right",
        sort: took,
        cell: (row) =>
          row.state === "skipped" || row.state === "cached" || !row.last?.started_at ? (
            <span className="text-muted">–</span>
          ) : (
            <Took from={row.last.started_at} to={row.last.finished_at} running={!isFinal(row.state)} />
          ),
      },
      {
        id: "items",
        header: "items",
        width: 90,
        grow: 0,
        align: "right",
        sort: (row) => row.items?.total ?? null,
        cell: (row) => (row.items ? items(row) : ""),
      },
      {
        id: "why",
        header: "why",
        width: 220,
        grow: 4,
        cell: (row) => <span title={reason(row)}>{reason(row)}</span>,
      },
      {
        id: "environment",
        header: "environment",
        width: 110,
        sort: (row) => row.environment,
        cell: (row) => row.environment || <span className="text-muted">the client’s</span>,
      },
      {
        id: "attempts",
        header: "attempts",
        width: 80,
        grow: 0,
        align: "right",
        hidden: true,
        sort: (row) => row.attempts,
        cell: (row) => row.attempts || "",
      },
      {
        id: "memory",
        header: "peak memory",
        width: 100,
        grow: 0,
        align: "right",
        hidden: true,
        sort: (row) => row.last?.peak_memory,
        cell: (row) => (row.last?.peak_memory ? bytes(row.last.peak_memory) : ""),
      },
      {
        id: "function",
        header: "function",
        width: 160,
        hidden: true,
        sort: (row) => row.function,
        cell: (row) => <code>{row.function}</code>,
      },
      {
        id: "spent",
        header: "in its function",
        width: 110,
        grow: 0,
        align: "right",
        hidden: true,
        sort: (row) => row.last?.seconds?.running,
        cell: (row) => duration(row.last?.seconds?.running),
      },
    ],
    [onOpen],
  );
  const states = ORDER.filter((each) => nodes.some((one) => one.state === each));
  return (
    <DataTable
      name={name}
      label="steps"
      columns={columns}
      rows={rows}
      rowId={(row) => row.id}
      onOpen={(row) => onOpen(row.id)}
      height={height}
      tools={
        <>
          <SearchField
            value={q}
            onChange={(next) => onFilter({ q: next || undefined })}
            label="find a step"
            className="w-44 grow sm:grow-0"
          />
          <Select
            aria-label="state"
            className="w-36!"
            value={state}
            onChange={(event) => onFilter({ state: event.target.value || undefined })}
            options={[{ value: "", label: "any state" }, ...new Set([...states, ...(state ? [state] : [])])]}
          />
          <span className="text-xs text-muted">
            {rows.length === nodes.length
              ? count(rows.length)
              : `${count(rows.length)} of ${count(nodes.length)}`}
          </span>
        </>
      }
      empty={
        nodes.length ? (
          <Empty title="No step is like that">Search for less, or for any state.</Empty>
        ) : (
          <Empty title="No step has begun" />
        )
      }
    />
  );
}

function items(node: RunNode): string {
  const done = Object.values(node.items?.counts ?? {}).reduce((sum, each) => sum + each, 0);
  const total = node.items?.total;
  if (done === 0 && node.state === "cached")
    return total === null || total === undefined ? "reused" : count(total);
  return total === null || total === undefined || total === done
    ? count(done)
    : `${count(done)} / ${count(total)}`;
}

export function StepsTab({
  graph,
  state,
  q,
  onFilter,
  onOpen,
}: {
  graph: RunGraph;
  state: string;
  q: string;
  onFilter: (change: { state?: string; q?: string }) => void;
  onOpen: (step: string) => void;
}) {
  return (
    <StepTable name="run-steps" nodes={graph.nodes} onOpen={onOpen} state={state} q={q} onFilter={onFilter} />
  );
}
