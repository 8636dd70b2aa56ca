import { useInfiniteQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useState } from "react";
import { Button } from "@/ui/button";
import { count } from "@/ui/format";
import { Empty, ErrorView } from "@/ui/said";
import { DataTable } from "@/ui/table";
import { Bulk } from "./bulk";
import { runColumns } from "./columns";
import { FilterBar } from "./filter-bar";
import { type Filters, isFiltered, NONE } from "./filters";
import { runRows } from "./queries";

const ENOUGH = 40; // rows that fill a page
const NOBODY: ReadonlySet<string> = new Set();

/** The runs that are looked for, with what can be done to many of them. */
export function RunTable({
  project,
  filters,
  onChange,
  pipeline,
  height,
}: {
  project: string;
  filters: Filters;
  onChange: (filters: Filters) => void;
  pipeline?: string; // runs of this one alone
  height?: string;
}) {
  const navigate = useNavigate();
  const asked = useMemo(
    () => (pipeline ? { ...filters, pipeline: [pipeline] } : filters),
    [filters, pipeline],
  );
  const query = useInfiniteQuery(runRows(project, asked));
  const rows = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  const columns = useMemo(() => runColumns(project, rows, !pipeline), [project, rows, pipeline]);
  const [selected, setSelected] = useState(NOBODY);
  const chosen = useMemo(() => rows.filter((each) => selected.has(each.id)), [rows, selected]);
  const { hasNextPage, isFetching, fetchNextPage } = query;

  // A page may have few, or none, and a next: the search goes on until there is enough to look at.
  const goesOn = hasNextPage && !isFetching && rows.length < ENOUGH && !query.error;
  useEffect(() => {
    if (goesOn) void fetchNextPage();
  }, [goesOn, fetchNextPage]);

  const searching = rows.length === 0 && (query.isPending || hasNextPage);
  return (
    <div className="flex min-w-0 flex-col gap-3">
      {query.error && <ErrorView error={query.error} retry={() => void query.refetch()} />}
      <DataTable
        name={pipeline ? "pipeline-runs" : "runs"}
        label="runs"
        columns={columns}
        rows={rows}
        rowId={(row) => row.id}
        sort={filters.sort}
        onSort={(sort) => onChange({ ...filters, sort: sort || NONE.sort })}
        onEnd={hasNextPage ? () => void fetchNextPage() : undefined}
        more={searching || query.isFetchingNextPage}
        selected={selected}
        onSelect={setSelected}
        onOpen={(row) =>
          void navigate({
            to: `/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(row.name)}` as string,
          })
        }
        height={height}
        tools={
          chosen.length > 0 ? (
            <Bulk project={project} chosen={chosen} onClear={() => setSelected(NOBODY)} />
          ) : (
            <FilterBar project={project} filters={filters} onChange={onChange} withPipeline={!pipeline} />
          )
        }
        empty={
          query.error ? null : isFiltered(filters) ? (
            <Empty title="No run is like that">
              <Button onClick={() => onChange({ ...NONE, sort: filters.sort })}>Clear the filters</Button>
            </Empty>
          ) : (
            <Empty title="No runs yet" command="tilth run pipeline.py">
              A run is one execution of a pipeline. Log in with <code>tilth login</code>, then start one:
            </Empty>
          )
        }
      />
      <p role="status" className="text-xs text-muted">
        {rows.length > 0 &&
          `${count(rows.length)}${hasNextPage ? " and more" : rows.length === 1 ? " run" : " runs"}`}
      </p>
    </div>
  );
}
