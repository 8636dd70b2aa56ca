import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useMemo } from "react";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";
import { percent } from "@/pages/overview/spans";
import { RunLink } from "@/pages/runs/columns";
import { useProject } from "@/shell/project";
import { count, duration } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Page } from "@/ui/page";
import { Empty, ErrorView } from "@/ui/said";
import { State } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { Recent } from "./recent";

type Row = components["schemas"]["PipelineRow"];

/** The pipelines of a project that have runs, and how these go. */
export default function PipelinesPage() {
  const project = useProject();
  const navigate = useNavigate();
  const { name: wanted = "", sort = "name" } = useSearch({ strict: false }) as {
    name?: string;
    sort?: string;
  };
  const query = useInfiniteQuery({
    queryKey: ["pipelines", project],
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/pipelines", {
          params: { path: { project }, query: { limit: 100, after: pageParam } },
        }),
      ),
    initialPageParam: "",
    getNextPageParam: (last) => last.next ?? undefined,
    refetchInterval: 30_000,
  });
  // All of them: they are searched and sorted here, and there are few.
  const { hasNextPage, isFetchingNextPage, fetchNextPage, error } = query;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !error) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, error, fetchNextPage]);
  const all = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  const rows = useMemo(
    () => all.filter((each) => each.name.toLowerCase().includes(wanted.toLowerCase())),
    [all, wanted],
  );
  const columns = useMemo(() => columnsOf(project), [project]);
  const set = (change: { name?: string; sort?: string }) =>
    void navigate({
      to: ".",
      search: { ...(wanted && { name: wanted }), ...(sort !== "name" && { sort }), ...change } as never,
      replace: true,
      resetScroll: false,
    });
  return (
    <Page title="Pipelines">
      {query.error && <ErrorView error={query.error} retry={() => void query.refetch()} />}
      <DataTable
        name="pipelines"
        label="pipelines"
        columns={columns}
        rows={rows}
        rowId={(row) => row.name}
        sort={sort}
        more={query.isPending || isFetchingNextPage}
        onOpen={(row) => void navigate({ to: pathOf(project, row.name) })}
        tools={
          <SearchField
            value={wanted}
            onChange={(name) => set({ name: name || undefined })}
            label="Search pipelines by name"
            className="w-full sm:w-64"
          />
        }
        empty={
          query.error ? null : wanted ? (
            <Empty title={`No pipeline is called like “${wanted}”`} />
          ) : (
            <Empty title="No pipelines yet" command="tilth run pipeline.py">
              A pipeline shows up here with its first run.
            </Empty>
          )
        }
      />
    </Page>
  );
}

function pathOf(project: string, pipeline: string): string {
  return `/p/${encodeURIComponent(project)}/pipelines/${encodeURIComponent(pipeline)}`;
}

function columnsOf(project: string): Column<Row>[] {
  return [
    {
      id: "name",
      header: "Pipeline",
      width: 180,
      grow: 2,
      fixed: true,
      sort: (row) => row.name,
      cell: (row) => (
        <Link to={pathOf(project, row.name)} className="font-medium hover:underline" title={row.name}>
          {row.name}
        </Link>
      ),
    },
    {
      id: "state",
      header: "Newest run",
      width: 120,
      sort: (row) => row.last?.state,
      cell: (row) => row.last && <State state={row.last.state} />,
    },
    {
      id: "last",
      header: "Started",
      width: 110,
      sort: (row) => row.last?.created_at,
      cell: (row) =>
        row.last && (
          <RunLink project={project} run={row.last.name}>
            <span className="font-normal">
              <Ago at={row.last.created_at} />
            </span>
          </RunLink>
        ),
    },
    {
      id: "success",
      header: "Succeeded",
      width: 90,
      align: "right",
      sort: (row) => row.success,
      cell: (row) => percent(row.success),
    },
    {
      id: "median",
      header: "Usually takes",
      width: 110,
      align: "right",
      sort: (row) => row.median_s,
      cell: (row) => duration(row.median_s),
    },
    {
      id: "recent",
      header: "Newest 40 runs",
      width: 210,
      grow: 0,
      cell: (row) => <Recent runs={row.recent} />,
    },
    {
      id: "runs",
      header: "Runs",
      width: 80,
      align: "right",
      sort: (row) => row.runs,
      cell: (row) => count(row.runs),
    },
    {
      id: "failed",
      header: "Failed",
      width: 80,
      align: "right",
      hidden: true,
      sort: (row) => row.states.failed ?? 0,
      cell: (row) => count(row.states.failed ?? 0),
    },
  ];
}
