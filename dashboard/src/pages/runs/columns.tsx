import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Badge, State } from "@/ui/state";
import type { Column } from "@/ui/table";
import { Ago, Took } from "@/ui/time";
import type { RunRow } from "./queries";

const MOST = 40; // columns of parameters, and of metadata

/** A link to a run's page. */
export function RunLink({ project, run, children }: { project: string; run: string; children?: ReactNode }) {
  return (
    <Link
      to={`/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(run)}` as string}
      className="inline-flex max-w-full font-medium hover:underline"
      title={run}
      {...(children === undefined && { "aria-label": run })} // not as two words
    >
      {children ?? <RunName name={run} />}
    </Link>
  );
}

/** A run's name, of whose number nothing is cut off. */
function RunName({ name }: { name: string }) {
  const at = name.lastIndexOf("-");
  if (at < 1) return <span className="truncate">{name}</span>;
  return (
    <>
      <span className="truncate">{name.slice(0, at)}</span>
      <span className="shrink-0">{name.slice(at)}</span>
    </>
  );
}

/** The columns of a table of runs: those that all runs have, and one for each parameter and metadata in sight. */
export function runColumns(project: string, rows: RunRow[], withPipeline = true): Column<RunRow>[] {
  const columns: Array<Column<RunRow> | false> = [
    {
      id: "name",
      header: "Run",
      width: 180,
      grow: 2,
      fixed: true,
      sort: true,
      cell: (row) => <RunLink project={project} run={row.name} />,
    },
    { id: "state", header: "State", width: 112, grow: 0, cell: (row) => <State state={row.state} /> },
    withPipeline && {
      id: "pipeline",
      header: "Pipeline",
      width: 120,
      hidden: true, // a run is named by it
      cell: (row) => (
        <Link
          to={`/p/${encodeURIComponent(project)}/pipelines/${encodeURIComponent(row.pipeline)}` as string}
          className="text-muted hover:text-ink hover:underline"
        >
          {row.pipeline}
        </Link>
      ),
    },
    {
      id: "created_at",
      header: "Started",
      width: 90,
      sort: true,
      cell: (row) => <Ago at={row.started_at ?? row.created_at} />,
    },
    {
      id: "duration",
      header: "Took",
      width: 90,
      align: "right",
      sort: true,
      cell: (row) => <Took from={row.started_at} to={row.finished_at} running={row.state === "running"} />,
    },
    {
      id: "tags",
      header: "Tags",
      width: 90,
      cell: (row) => (
        <span className="inline-flex gap-1">
          {row.tags.map((each) => (
            <Badge key={each}>{each}</Badge>
          ))}
        </span>
      ),
    },
    {
      id: "failure",
      header: "Why it failed",
      width: 160,
      grow: 2,
      cell: (row) => (
        <span className="text-bad" title={row.failure}>
          {row.failure}
        </span>
      ),
    },
    {
      id: "stack",
      header: "Stack",
      width: 100,
      cell: (row) => row.stack || <span className="text-muted">local</span>,
    },
    { id: "steps", header: "Steps", width: 60, align: "right", hidden: true, cell: (row) => row.steps },
    {
      id: "commit",
      header: "Commit",
      width: 130,
      hidden: true,
      cell: (row) =>
        row.commit && (
          <span title={`${row.commit}${row.dirty ? ", with changes" : ""}`}>
            <code>{row.commit.slice(0, 8)}</code>
            {row.dirty && "*"} <span className="text-muted">{row.branch}</span>
          </span>
        ),
    },
    { id: "python", header: "Client’s Python", width: 110, hidden: true, cell: (row) => row.python },
    { id: "rerun_of", header: "Rerun of", width: 120, hidden: true, cell: (row) => row.rerun_of },
    ...names(rows, "parameters").map((name) =>
      value(`parameter ${name}`, name, (row) => row.parameters[name]),
    ),
    ...names(rows, "metadata").map((name) => value(`metadata ${name}`, name, (row) => row.metadata[name])),
  ];
  return columns.filter((each): each is Column<RunRow> => each !== false);
}

function value(id: string, name: string, of: (row: RunRow) => unknown): Column<RunRow> {
  return {
    id,
    header: id.startsWith("parameter") ? name : `${name} (logged)`,
    width: 100,
    hidden: true,
    align: "right",
    cell: (row) => <span title={shown(of(row))}>{shown(of(row))}</span>,
  };
}

/** Names that any of the rows has, in the order they come. */
function names(rows: RunRow[], of: "parameters" | "metadata"): string[] {
  const found = new Set<string>();
  for (const row of rows) {
    for (const name of Object.keys(row[of])) found.add(name);
    if (found.size >= MOST) break;
  }
  return [...found].slice(0, MOST).sort();
}

/** A value that JSON holds, in a cell. */
export function shown(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  if (typeof value === "number") return number(value);
  return JSON.stringify(value);
}

/** A number with as many digits as tell it apart from its neighbours. */
export function number(value: number): string {
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e9 ? String(Number(value.toPrecision(6))) : value.toExponential(3);
}
