import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import clsx from "clsx";
import { useCallback, useMemo } from "react";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Chart } from "@/ui/chart";
import { Command } from "@/ui/copy";
import { bytes, plural } from "@/ui/format";
import { Page } from "@/ui/page";
import { Empty, ErrorView, Loading } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { artifactsPath, runPath } from "./addresses";
import { typeName } from "./artifact-name";
import { charted, flat, series, shown } from "./metadata";
import { type Artifact, runNames, versions } from "./queries";
import { artifactNameRoute } from "./routes";

const MOST = 12; // charts
const USUAL = 3;

export default function ArtifactNamePage() {
  const project = useProject();
  const { name } = artifactNameRoute.useParams();
  const query = useInfiniteQuery(versions(project, name));
  const rows = useMemo(() => query.data?.pages.flatMap((each) => each.items) ?? [], [query.data]);
  const newest = rows[0];
  return (
    <Page
      title={name}
      crumbs={[{ label: "Artifacts", to: artifactsPath(project) }]}
      note={
        newest && (
          <span className="text-sm text-muted">
            {typeName(newest.type)}
            {" · "}
            {query.hasNextPage ? `v${newest.version} is the newest` : plural(rows.length, "version")}
          </span>
        )
      }
      actions={newest && <Command>{`tilth artifacts get ${word(name)} .`}</Command>}
    >
      {query.error && !query.data ? (
        <ErrorView error={query.error} retry={() => void query.refetch()} />
      ) : query.isPending ? (
        <Loading rows={8} />
      ) : rows.length === 0 ? (
        <Empty title={`No artifact is called ${name}`} command="tilth artifacts list">
          It was deleted, or no step has made it yet.
        </Empty>
      ) : (
        <>
          <Numbers name={name} rows={rows} />
          <Versions project={project} rows={rows} query={query} />
        </>
      )}
    </Page>
  );
}

function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

function Numbers({ name, rows }: { name: string; rows: Artifact[] }) {
  const navigate = useNavigate();
  const { keys: asked } = artifactNameRoute.useSearch();
  const known = useMemo(() => charted(rows), [rows]);
  const keys = useMemo(() => {
    const wanted = asked?.split(",").filter((each) => known.includes(each));
    return wanted?.length ? wanted.slice(0, MOST) : known.slice(0, USUAL);
  }, [asked, known]);
  // Each has a scale of its own: an accuracy beside a count of rows would be a flat line.
  const { numbers, charts } = useMemo(() => {
    const [numbers, ...values] = series(rows, keys);
    const charts = keys.map((key, at) => ({
      key,
      series: [{ label: key, values: values[at] ?? [], colour: "--accent" }],
    }));
    return { numbers, charts };
  }, [rows, keys]);
  if (known.length === 0) return null;
  const turn = (key: string) => {
    const next = keys.includes(key) ? keys.filter((each) => each !== key) : [...keys, key].slice(-MOST);
    void navigate({ to: ".", search: { keys: next.join(",") || undefined }, replace: true } as never);
  };
  return (
    <Card title="Metadata over versions">
      <fieldset className="mb-3 flex flex-wrap gap-1.5" aria-label="numbers in charts">
        {known.slice(0, 40).map((key) => (
          <button
            key={key}
            type="button"
            aria-pressed={keys.includes(key)}
            onClick={() => turn(key)}
            className={clsx(
              "rounded-full border px-2.5 py-0.5 text-xs",
              keys.includes(key)
                ? "border-transparent bg-accent-soft font-medium text-ink"
                : "border-line-strong text-muted hover:text-ink",
            )}
          >
            {key}
          </button>
        ))}
      </fieldset>
      <div className="grid grid-cols-[repeat(auto-fit,minmax(min(17rem,100%),1fr))] gap-4">
        {charts.map((each) => (
          <Chart
            key={each.key}
            label={`${each.key} of ${name} over its versions`}
            x={numbers}
            series={each.series}
            format={shown}
            time={false}
            zero={false}
            xLabel={versionLabel}
          />
        ))}
      </div>
    </Card>
  );
}

function versionLabel(version: number): string {
  return Number.isInteger(version) ? `v${version}` : "";
}

function Versions({
  project,
  rows,
  query,
}: {
  project: string;
  rows: Artifact[];
  query: { hasNextPage: boolean; isFetching: boolean; fetchNextPage: () => unknown };
}) {
  const runs = useMemo(() => [...new Set(rows.map((each) => each.run ?? "").filter(Boolean))], [rows]);
  const { data: known } = useQuery(runNames(project, runs));
  const numbers = useMemo(() => charted(rows).slice(0, 6), [rows]);
  const { hasNextPage, isFetching, fetchNextPage } = query;
  const columns = useMemo<Column<Artifact>[]>(
    () => [
      {
        id: "version",
        header: "Version",
        fixed: true,
        width: 90,
        sort: (row) => row.version,
        cell: (row) => (
          <Link
            to="/p/$project/artifacts/$name/$version"
            params={{ project, name: row.name, version: String(row.version) }}
            className="font-medium text-accent tabular-nums hover:underline"
          >
            v{row.version}
          </Link>
        ),
      },
      {
        id: "created",
        header: "Created",
        width: 100,
        sort: (row) => Date.parse(row.created_at),
        cell: (row) => <Ago at={row.created_at} />,
      },
      {
        id: "run",
        header: "Run",
        width: 130,
        grow: 2,
        cell: (row) => {
          const run = known?.get(row.run ?? "");
          return run ? (
            <Link to={runPath(project, run)} className="hover:underline">
              {run}
            </Link>
          ) : (
            <span className="text-muted">{known && row.run ? "a deleted run" : "–"}</span>
          );
        },
      },
      {
        id: "size",
        header: "Size",
        width: 80,
        align: "right",
        sort: (row) => row.size,
        cell: (row) => bytes(row.size),
      },
      ...numbers.map(
        (key, at): Column<Artifact> => ({
          id: `metadata.${key}`,
          header: key,
          width: 100,
          align: "right",
          hidden: at > 3,
          sort: (row) => numberOf(row, key),
          cell: (row) => {
            const value = numberOf(row, key);
            return value === null ? <span className="text-muted">–</span> : shown(value);
          },
        }),
      ),
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
    ],
    [project, known, numbers],
  );
  return (
    <DataTable
      name="artifact-versions"
      label="versions, newest first"
      columns={columns}
      rows={rows}
      rowId={(row) => row.id}
      more={isFetching}
      onEnd={useCallback(() => {
        if (hasNextPage && !isFetching) void fetchNextPage();
      }, [hasNextPage, isFetching, fetchNextPage])}
      height="60vh"
      tools={<h2 className="px-1 text-sm font-semibold">Versions</h2>}
    />
  );
}

function numberOf(row: Artifact, key: string): number | null {
  const found = flat(row.metadata).find(([name]) => name === key)?.[1];
  return typeof found === "number" ? found : null;
}
