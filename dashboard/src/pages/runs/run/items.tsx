import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo } from "react";
import { useProject } from "@/shell/project";
import { count } from "@/ui/format";
import { Select } from "@/ui/input";
import { Empty, ErrorView } from "@/ui/said";
import { State } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Took } from "@/ui/time";
import { ORDER } from "./live";
import { isFinal, type RunNode, type State as StateName, type StepRun } from "./model";
import { itemsQuery } from "./queries";

const AGAIN_MS = 3000; // between two looks at items that go on

/** The items of a mapped step that have ended, however many. */
export function Items({
  run,
  node,
  state,
  onState,
  onOpen,
}: {
  run: string;
  node: RunNode;
  state: string;
  onState: (state: string | undefined) => void;
  onOpen: (item: number) => void;
}) {
  const project = useProject();
  const states = state ? [state as StateName] : [];
  const options = itemsQuery(project, run, node.id, states);
  const query = useInfiniteQuery(options);
  const counts = node.items?.counts ?? {};
  const told = Object.values(counts).reduce((sum, each) => sum + each, 0);

  // New ones are looked for while they come, though not for each one anew.
  const client = useQueryClient();
  const key = options.queryKey.join("\n");
  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` is what the query is told apart by
  useEffect(() => {
    const timer = setTimeout(
      () => void client.invalidateQueries({ queryKey: options.queryKey }),
      isFinal(node.state) ? 0 : AGAIN_MS,
    );
    return () => clearTimeout(timer);
  }, [client, key, told, node.state]);

  const rows = useMemo(() => query.data?.pages.flatMap((each) => each.items) ?? [], [query.data]);
  const columns = useMemo<Column<StepRun>[]>(
    () => [
      {
        id: "index",
        header: "item",
        fixed: true,
        width: 56,
        grow: 0,
        align: "right",
        cell: (row) => (
          <button
            type="button"
            className="font-medium tabular-nums hover:underline"
            onClick={() => onOpen(row.index ?? 0)}
          >
            {row.index}
          </button>
        ),
      },
      {
        id: "state",
        header: "state",
        width: 104,
        grow: 0,
        cell: (row) => <State state={row.state ?? "queued"} />,
      },
      {
        id: "took",
        header: "took",
        width: 64,
        grow: 0,
        align: "right",
        cell: (row) => (row.state === "cached" ? "–" : <Took from={row.started_at} to={row.finished_at} />),
      },
      {
        id: "why",
        header: "why",
        width: 140,
        grow: 3,
        cell: (row) => {
          const text = row.failure
            ? `${row.failure.type || row.failure.reason}: ${row.failure.message}`
            : row.cache_reason;
          return <span title={text}>{text}</span>;
        },
      },
      {
        id: "attempt",
        header: "attempt",
        width: 70,
        grow: 0,
        align: "right",
        hidden: true,
        cell: (row) => row.attempt,
      },
    ],
    [onOpen],
  );
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  return (
    <DataTable
      name="run-items"
      label={`items of ${node.id}`}
      columns={columns}
      rows={rows}
      rowId={(row) => row.id}
      onOpen={(row) => onOpen(row.index ?? 0)}
      onEnd={query.hasNextPage && !query.isFetchingNextPage ? () => void query.fetchNextPage() : undefined}
      more={query.isFetchingNextPage || query.isPending}
      height="26rem"
      tools={
        <Select
          aria-label="state of the items"
          className="w-52!"
          value={state}
          onChange={(event) => onState(event.target.value || undefined)}
          options={[
            { value: "", label: `any state (${count(told)})` },
            ...ORDER.filter((each) => counts[each] || each === state).map((each) => ({
              value: each,
              label: `${each} (${count(counts[each] ?? 0)})`,
            })),
          ]}
        />
      }
      empty={
        told ? (
          <Empty title={`No item is ${state}`} />
        ) : node.state === "cached" ? (
          <Empty title="Reused as a whole">Its items are those of the run that made them.</Empty>
        ) : (
          <Empty title="No item has ended yet">Each is listed when it ends.</Empty>
        )
      }
    />
  );
}
