import { useInfiniteQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { FileBox } from "lucide-react";
import { useCallback, useMemo } from "react";
import { useProject } from "@/shell/project";
import { bytes } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Page } from "@/ui/page";
import { Empty, ErrorView } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { runPath } from "./addresses";
import { ArtifactName, typeName } from "./artifact-name";
import { type Artifact, names, ofRun } from "./queries";
import { artifactsRoute } from "./routes";

type Filter = { search?: string; type?: string; tag?: string; run?: string };

export default function ArtifactsPage() {
  const project = useProject();
  const filter: Filter = artifactsRoute.useSearch();
  const navigate = useNavigate();
  const set = useCallback(
    (change: Filter) =>
      void navigate({
        to: ".",
        search: (before: Filter) => clean({ ...before, ...change }),
        replace: true,
      } as never),
    [navigate],
  );
  return (
    <Page
      title="Artifacts"
      note={
        filter.run && (
          <Link to={runPath(project, filter.run)} className="text-sm text-accent hover:underline">
            of run {filter.run}
          </Link>
        )
      }
    >
      {filter.run ? (
        <OfRun project={project} filter={filter} set={set} />
      ) : (
        <Names project={project} filter={filter} set={set} />
      )}
    </Page>
  );
}

function clean(filter: Filter): Filter {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value));
}

type Part = { project: string; filter: Filter; set: (change: Filter) => void };

function Names({ project, filter, set }: Part) {
  const query = useInfiniteQuery(names(project, filter.search ?? "", filter.type ?? "", filter.tag ?? ""));
  const rows = useMemo(
    () => query.data?.pages.flatMap((each) => each.items.map((item) => item.newest)) ?? [],
    [query.data],
  );
  // A page of many thousand names may hold none that fits: the next one is asked for at once.
  const { hasNextPage, isFetching, fetchNextPage } = query;
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  const filtered = filter.search || filter.type || filter.tag;
  return (
    <DataTable
      name="artifacts"
      label="artifacts by name, each with its newest version"
      columns={columnsOf(project, false)}
      rows={rows}
      rowId={(row) => row.id}
      more={isFetching}
      onEnd={more}
      tools={<Tools filter={filter} set={set} />}
      empty={
        filtered ? (
          <Empty title="No artifact is like that">
            {hasNextPage ? (
              <button type="button" className="text-accent underline" onClick={more}>
                Look further
              </button>
            ) : (
              <button
                type="button"
                className="text-accent underline"
                onClick={() => set({ search: undefined, type: undefined, tag: undefined })}
              >
                Show all
              </button>
            )}
          </Empty>
        ) : (
          <Empty title="No artifacts yet" command="tilth run pipeline.py">
            What steps return is kept here: versions, what is in them, what they were made from.
          </Empty>
        )
      }
    />
  );
}

function OfRun({ project, filter, set }: Part) {
  const query = useInfiniteQuery(ofRun(project, filter.run ?? ""));
  const all = useMemo(() => query.data?.pages.flatMap((each) => each.items) ?? [], [query.data]);
  const rows = useMemo(() => all.filter((each) => fits(each, filter)), [all, filter]);
  const { hasNextPage, isFetching, fetchNextPage } = query;
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  if (query.error && !query.data) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  return (
    <DataTable
      name="artifacts-of-run"
      label={`artifacts of run ${filter.run}`}
      columns={columnsOf(project, true)}
      rows={rows}
      rowId={(row) => row.id}
      more={isFetching}
      onEnd={more}
      tools={<Tools filter={filter} set={set} />}
      empty={
        <Empty title={all.length > 0 ? "No artifact of this run is like that" : "This run made no artifact"}>
          {all.length === 0 && "What its cached steps reused belongs to the run that made it."}
        </Empty>
      }
    />
  );
}

function fits(artifact: Artifact, { search, type, tag }: Filter): boolean {
  return (
    artifact.name.toLowerCase().includes((search ?? "").toLowerCase()) &&
    (artifact.type ?? "").toLowerCase().includes((type ?? "").toLowerCase()) &&
    (!tag || (artifact.tags ?? []).includes(tag))
  );
}

function Tools({ filter, set }: Omit<Part, "project">) {
  return (
    <>
      <SearchField
        label="search names"
        className="w-full sm:w-64"
        value={filter.search ?? ""}
        onChange={useCallback((search: string) => set({ search }), [set])}
      />
      <SearchField
        label="type"
        className="w-36"
        value={filter.type ?? ""}
        onChange={useCallback((type: string) => set({ type }), [set])}
      />
      <SearchField
        label="tag"
        className="w-32"
        value={filter.tag ?? ""}
        onChange={useCallback((tag: string) => set({ tag }), [set])}
      />
      <SearchField
        label="run"
        className="w-40"
        value={filter.run ?? ""}
        onChange={useCallback((run: string) => set({ run }), [set])}
      />
    </>
  );
}

function columnsOf(project: string, oneRun: boolean): Column<Artifact>[] {
  const versionLink = (row: Artifact) => (
    <Link
      to="/p/$project/artifacts/$name/$version"
      params={{ project, name: row.name, version: String(row.version) }}
      className="text-accent tabular-nums hover:underline"
    >
      {oneRun ? <ArtifactName name={row.name} /> : `v${row.version}`}
    </Link>
  );
  return [
    {
      id: "name",
      header: "Artifact",
      fixed: true,
      width: 240,
      grow: 3,
      cell: (row) => (
        <span className="flex items-center gap-2" title={row.name}>
          <FileBox className="size-4 shrink-0 text-muted" aria-hidden />
          {oneRun ? (
            <span className="truncate font-medium">{versionLink(row)}</span>
          ) : (
            <Link
              to="/p/$project/artifacts/$name"
              params={{ project, name: row.name }}
              className="truncate font-medium hover:underline"
            >
              <ArtifactName name={row.name} />
            </Link>
          )}
        </span>
      ),
    },
    {
      id: "version",
      header: oneRun ? "Version" : "Newest",
      width: 72,
      cell: (row) => (oneRun ? `v${row.version}` : versionLink(row)),
    },
    {
      id: "type",
      header: "Type",
      width: 150,
      grow: 1.5,
      cell: (row) => <span title={row.type}>{typeName(row.type)}</span>,
    },
    { id: "size", header: "Size", width: 80, align: "right", cell: (row) => bytes(row.size) },
    { id: "step", header: "Step", width: 110, hidden: true, cell: (row) => row.step },
    { id: "created", header: "Created", width: 100, cell: (row) => <Ago at={row.created_at} /> },
    {
      id: "tags",
      header: "Tags",
      width: 130,
      cell: (row) => (
        <span className="flex gap-1">
          {(row.tags ?? []).map((each) => (
            <Badge key={each}>{each}</Badge>
          ))}
        </span>
      ),
    },
  ];
}
