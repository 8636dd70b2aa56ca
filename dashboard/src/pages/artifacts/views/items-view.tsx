import { useInfiniteQuery } from "@tanstack/react-query";
import { useCallback, useMemo } from "react";
import type { components } from "@/api/schema";
import { short } from "@/ui/format";
import { ErrorView } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { typeName } from "../artifact-name";
import type { Shown } from "../contents";
import { items } from "../queries";

type Row = components["schemas"]["Item"] & { number: number };

const COLUMNS: Column<Row>[] = [
  { id: "number", header: "Item", fixed: true, width: 70, grow: 0.3, cell: (row) => row.number },
  {
    id: "text",
    header: "Value",
    width: 240,
    grow: 4,
    cell: (row) =>
      row.text ? (
        <code title={row.text}>{row.text}</code>
      ) : (
        <span className="text-muted">{row.format ? `kept as ${row.format}` : "not shown"}</span>
      ),
  },
  {
    id: "type",
    header: "Type",
    width: 120,
    cell: (row) => <span title={row.type}>{typeName(row.type)}</span>,
  },
  {
    id: "digest",
    header: "Digest",
    width: 130,
    cell: (row) => <code title={row.digest}>{short(row.digest)}</code>,
  },
];

/** The items of an output that is mapped over, or of what a mapped step gave. */
export default function ItemsView({ project, artifact }: Shown) {
  const query = useInfiniteQuery(items(project, artifact.id));
  const rows = useMemo(
    () =>
      (query.data?.pages.flatMap((each) => each.items) ?? []).map((each, number) => ({ ...each, number })),
    [query.data],
  );
  const { hasNextPage, isFetching, fetchNextPage } = query;
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  return (
    <DataTable
      name="artifact-items"
      label="items"
      columns={COLUMNS}
      rows={rows}
      rowId={(row) => String(row.number)}
      more={isFetching}
      onEnd={more}
      height="65vh"
      empty={<p className="p-4 text-sm text-muted">It has no items.</p>}
    />
  );
}
