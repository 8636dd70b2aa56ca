import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { ChevronFirst, ChevronLast, ChevronLeft, ChevronRight } from "lucide-react";
import { useState } from "react";
import { Button, IconButton } from "@/ui/button";
import { Card } from "@/ui/card";
import { count, plural } from "@/ui/format";
import { Answer, ErrorView, Loading } from "@/ui/said";
import type { Shown } from "../contents";
import { COLUMNS, columns, ROWS, type Table, table } from "../queries";
import { Grid } from "./grid";
import { Histogram } from "./histogram";

/** A frame or an array: some of its rows, and what its columns hold. */
export default function TableView({ project, artifact, view }: Shown) {
  const [row, setRow] = useState(0);
  const [column, setColumn] = useState(0);
  const query = useQuery({
    ...table(project, artifact.id, view.file, row, column),
    placeholderData: keepPreviousData,
  });
  return (
    <Answer query={query} loading={<Loading rows={10} />}>
      {(told) => (
        <div className="flex min-w-0 flex-col gap-4">
          <Card title={shape(told)} actions={<Pager told={told} onRow={setRow} onColumn={setColumn} />} flush>
            <Grid
              label="rows"
              headers={told.columns.map((each, at) => ({
                name: each.name,
                note: each.problem ? (
                  <span className="text-bad" title={each.problem}>
                    {each.type} · not shown
                  </span>
                ) : (
                  each.type
                ),
                index: at < told.index_columns,
              }))}
              rows={told.rows.map((cells, at) =>
                // An array has no index of its own: the numbers of its rows stand in for one.
                told.index_columns > 0 ? cells : cells.length > 0 ? cells : [told.first_row + at],
              )}
              height="50vh"
            />
          </Card>
          {told.total_columns > 0 && told.total_rows > 0 && (
            <Columns project={project} id={artifact.id} file={view.file} />
          )}
        </div>
      )}
    </Answer>
  );
}

function shape(told: Table): string {
  if (told.shape.length > 2 || (told.index_columns === 0 && told.shape.length !== 2))
    return `array of ${told.shape.map(count).join(" × ") || "one value"}`;
  return `${plural(told.total_rows, "row")}, ${plural(told.total_columns, "column")}`;
}

function Pager({
  told,
  onRow,
  onColumn,
}: {
  told: Table;
  onRow: (row: number) => void;
  onColumn: (column: number) => void;
}) {
  const last = Math.max(0, Math.floor((told.total_rows - 1) / ROWS) * ROWS);
  const at = told.first_row;
  const end = Math.min(at + ROWS, told.total_rows);
  const lastColumn = Math.min(told.first_column + COLUMNS, told.total_columns);
  return (
    <>
      {told.total_columns > COLUMNS && (
        <span className="flex items-center text-xs text-muted">
          <IconButton
            label="columns before"
            disabled={told.first_column === 0}
            onClick={() => onColumn(Math.max(0, told.first_column - COLUMNS))}
          >
            <ChevronLeft />
          </IconButton>
          <span className="tabular-nums">
            columns {count(told.first_column + 1)}–{count(lastColumn)}
          </span>
          <IconButton
            label="columns after"
            disabled={lastColumn >= told.total_columns}
            onClick={() => onColumn(told.first_column + COLUMNS)}
          >
            <ChevronRight />
          </IconButton>
        </span>
      )}
      {told.total_rows > ROWS && (
        <span className="flex items-center text-xs text-muted">
          <IconButton label="first rows" disabled={at === 0} onClick={() => onRow(0)}>
            <ChevronFirst />
          </IconButton>
          <IconButton label="rows before" disabled={at === 0} onClick={() => onRow(Math.max(0, at - ROWS))}>
            <ChevronLeft />
          </IconButton>
          <span className="tabular-nums" role="status">
            rows {count(at + 1)}–{count(end)}
          </span>
          <IconButton label="rows after" disabled={end >= told.total_rows} onClick={() => onRow(at + ROWS)}>
            <ChevronRight />
          </IconButton>
          <IconButton label="last rows" disabled={at >= last} onClick={() => onRow(last)}>
            <ChevronLast />
          </IconButton>
        </span>
      )}
    </>
  );
}

function Columns({ project, id, file }: { project: string; id: string; file: string }) {
  const query = useInfiniteQuery(columns(project, id, file));
  const first = query.data?.pages[0];
  const all = query.data?.pages.flatMap((each) => each.items) ?? [];
  return (
    <Card
      title="What its columns hold"
      actions={
        first && first.looked_at < first.total_rows ? (
          <span className="text-xs text-muted">
            told from {count(first.looked_at)} rows all over it, of {count(first.total_rows)}
          </span>
        ) : undefined
      }
    >
      {query.error ? (
        <ErrorView error={query.error} retry={() => void query.refetch()} />
      ) : query.isPending ? (
        <Loading rows={4} />
      ) : (
        <div className="grid grid-cols-[repeat(auto-fill,minmax(15rem,1fr))] gap-4">
          {all.map((each, at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: names may be equal
            <Histogram key={at} column={each} />
          ))}
        </div>
      )}
      {query.hasNextPage && first && (
        <Button className="mt-4" busy={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          {count(first.total_columns - all.length)} columns more
        </Button>
      )}
    </Card>
  );
}
