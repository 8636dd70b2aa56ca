import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { Button } from "@/ui/button";
import { count, short } from "@/ui/format";
import { SearchField, Select } from "@/ui/input";
import { Empty, ErrorView } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { Labelled, ROLES } from "./parts";
import { type Environment, environmentList } from "./queries";
import type { EnvironmentsSearch } from "./routes";

/** Every environment that is recorded, newest first; two that are picked are compared. */
export function EnvironmentList({
  project,
  search,
  set,
}: {
  project: string;
  search: EnvironmentsSearch;
  set: (change: Partial<EnvironmentsSearch>, replace?: boolean) => void;
}) {
  const query = useInfiniteQuery(environmentList(project, search.name, search.role));
  const rows = useMemo(() => (query.data?.pages ?? []).flatMap((page) => page.items), [query.data]);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const navigate = useNavigate();
  const [a, b] = [...selected];
  const columns: Column<Environment>[] = useMemo(
    () => [
      {
        id: "name",
        header: "Environment",
        width: 150,
        grow: 2,
        fixed: true,
        cell: (each) => (
          <Link
            to="/p/$project/environments/$digest"
            params={{ project, digest: each.id ?? "" }}
            className="font-medium hover:underline"
          >
            {each.name}
          </Link>
        ),
      },
      { id: "role", header: "Kind", cell: (each) => each.role },
      {
        id: "digest",
        header: "Digest",
        width: 110,
        cell: (each) => <code title={each.id}>{short(each.id)}</code>,
      },
      { id: "python", header: "Python", width: 70, cell: (each) => each.python },
      { id: "platform", header: "Platform", width: 120, cell: (each) => each.platform },
      {
        id: "packages",
        header: "Packages",
        width: 80,
        align: "right",
        cell: (each) => count(each.packages?.length ?? 0),
      },
      {
        id: "requirements",
        header: "Requires",
        width: 160,
        grow: 3,
        cell: (each) => each.requirements?.join(", "),
      },
      { id: "created_at", header: "Recorded", width: 100, cell: (each) => <Ago at={each.created_at} /> },
    ],
    [project],
  );
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  return (
    <DataTable
      name="environments"
      label="Environments"
      columns={columns}
      rows={rows}
      rowId={(each) => each.id ?? ""}
      more={query.isFetching}
      onEnd={() => query.hasNextPage && void query.fetchNextPage()}
      selected={selected}
      onSelect={setSelected}
      onOpen={(each) =>
        void navigate({ to: "/p/$project/environments/$digest", params: { project, digest: each.id ?? "" } })
      }
      tools={
        <>
          <SearchField
            value={search.name ?? ""}
            onChange={(name) => set({ name: name || undefined }, true)}
            label="Name, in full"
            className="w-44"
          />
          <Labelled label="Kind" before>
            {(id) => (
              <Select
                id={id}
                className="w-32!"
                value={search.role ?? ""}
                onChange={(event) => set({ role: event.target.value || undefined }, true)}
                options={[{ value: "", label: "all" }, ...ROLES]}
              />
            )}
          </Labelled>
          <Button
            small
            disabled={selected.size !== 2}
            title="pick two environments"
            onClick={() =>
              void navigate({
                to: "/p/$project/environments/diff",
                params: { project },
                search: { a: b, b: a },
              })
            }
          >
            Compare two
          </Button>
        </>
      }
      empty={
        search.name || search.role ? (
          <Empty title="No environment is like this">
            Names are looked for in full: <code>train</code> finds every environment that was called so.
          </Empty>
        ) : (
          <Empty title="No environment has been recorded yet" command="tilth run pipeline.py" />
        )
      }
    />
  );
}
