import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import clsx from "clsx";
import { X } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";
import { number, RunLink, shown } from "@/pages/runs/columns";
import { useProject } from "@/shell/project";
import { Button, buttonClass, IconButton } from "@/ui/button";
import { Card } from "@/ui/card";
import { Chart } from "@/ui/chart";
import { bytes, duration, plural, short } from "@/ui/format";
import { Input } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Ago, Took } from "@/ui/time";
import {
  artifacts,
  digestsOf,
  environments,
  FEWEST,
  kinds,
  lastAttempts,
  logged,
  MOST,
  type Row,
  readRuns,
  rows,
  stepSeconds,
} from "./compared";

type Run = components["schemas"]["Run"];
const COLOURS = ["--busy", "--wait", "--good", "--bad", "--cached"];

/** Two to five runs side by side. */
export default function ComparePage() {
  const project = useProject();
  const search = useSearch({ strict: false }) as { runs?: string; all?: boolean };
  const names = useMemo(() => readRuns(search.runs), [search.runs]);
  const navigate = useNavigate();
  const set = (runs: string[], all = search.all) =>
    void navigate({
      to: ".",
      search: { ...(runs.length > 0 && { runs: runs.join(",") }), ...(all && { all }) } as never,
      replace: true,
      resetScroll: false,
    });
  const fits = names.length >= FEWEST && names.length <= MOST;
  const query = useQuery({
    queryKey: ["compare", project, names],
    queryFn: () => fetchAll(project, names),
    enabled: fits,
  });
  return (
    <Page
      title="Compare runs"
      crumbs={[{ label: "Runs", to: `/p/${encodeURIComponent(project)}/runs` }]}
      actions={
        <>
          <label className="flex items-center gap-2 text-sm">
            <input
              type="checkbox"
              checked={!search.all}
              onChange={(event) => set(names, !event.target.checked)}
              className="size-4 accent-(--accent)"
            />
            only what differs
          </label>
          {names.length < MOST && <Add onAdd={(name) => set([...names, name])} />}
        </>
      }
    >
      {fits ? (
        <Answer query={query}>
          {(found) => (
            <Compared
              project={project}
              found={found}
              all={search.all === true}
              missing={names.filter((each) => !found.some(({ run }) => run.name === each))}
              onRemove={(name) => set(names.filter((each) => each !== name))}
            />
          )}
        </Answer>
      ) : (
        <Card>
          <Empty
            title={
              names.length > MOST
                ? `${names.length} runs are too many to look at side by side`
                : "Choose two to five runs"
            }
          >
            <p>Mark them in the table of runs, then press “Compare”; or add them here by name.</p>
            <Link
              to={`/p/${encodeURIComponent(project)}/runs` as string}
              className={buttonClass("plain", false, "mt-3")}
            >
              To the runs
            </Link>
            {names.length > 0 && (
              <ul className="mt-3 flex flex-wrap justify-center gap-2">
                {names.map((each) => (
                  <li key={each}>
                    <Button small onClick={() => set(names.filter((one) => one !== each))}>
                      {each} <X />
                    </Button>
                  </li>
                ))}
              </ul>
            )}
          </Empty>
        </Card>
      )}
    </Page>
  );
}

async function fetchAll(project: string, names: string[]) {
  const path = { project };
  const { items } = await data(
    api.GET("/api/v1/projects/{project}/runs", { params: { path, query: { name: names, limit: MOST } } }),
  );
  const runs = names
    .map((name) => items.find((each) => each.name === name))
    .filter((each): each is Run & { id: string } => each?.id !== undefined);
  const digests = [...new Set(runs.flatMap((each) => Object.values(digestsOf(each))))];
  const known = digests.length
    ? await data(
        api.POST("/api/v1/projects/{project}/environments/query", {
          params: { path },
          body: { where: { id: digests }, limit: Math.min(digests.length, 1000) },
        }),
      )
    : { items: [] };
  const environmentsById = new Map(known.items.map((each) => [each.id ?? "", each]));
  const steps = await Promise.all(
    runs.map(async (run) => {
      const found = await data(
        api.GET("/api/v1/projects/{project}/step-runs", {
          params: { path, query: { run: [run.id], index: ["null"], limit: 1000, order: "created_at" } },
        }),
      );
      return found.items;
    }),
  );
  // What a reused step logged, and made, belongs to the one that it was reused from.
  const reused = steps.flat().flatMap((each) => each.reused_from || []);
  const outputs = steps
    .flat()
    .flatMap((each) => Object.values(each.outputs ?? {}).flatMap((one) => one.artifact || []));
  const [origins, made] = await Promise.all([
    byIds(reused, (id) =>
      data(
        api.POST("/api/v1/projects/{project}/step-runs/query", {
          params: { path },
          body: { where: { id }, limit: 1000 },
        }),
      ),
    ),
    byIds(outputs, (id) =>
      data(
        api.POST("/api/v1/projects/{project}/artifacts/query", {
          params: { path },
          body: { where: { id }, limit: 1000 },
        }),
      ),
    ),
  ]);
  return runs.map((run, at) => {
    const own = (steps[at] ?? []).map((each) => ({
      ...each,
      metadata: origins.get(each.reused_from ?? "")?.metadata ?? each.metadata,
    }));
    const ids = [...lastAttempts(own).values()].flatMap((each) =>
      Object.values(each.outputs ?? {}).flatMap((one) => one.artifact || []),
    );
    return {
      run,
      steps: own,
      artifacts: ids.flatMap((id) => made.get(id) ?? []),
      environments: environmentsById,
    };
  });
}

/** Records by their ids, however many. */
async function byIds<T extends { id: string }>(
  ids: string[],
  fetch: (ids: string[]) => Promise<{ items: T[] }>,
): Promise<Map<string, T>> {
  const wanted = [...new Set(ids)];
  const parts = Array.from({ length: Math.ceil(wanted.length / 1000) }, (_, at) =>
    wanted.slice(at * 1000, (at + 1) * 1000),
  );
  const found = await Promise.all(parts.map(fetch));
  return new Map(found.flatMap((each) => each.items.map((one) => [one.id, one])));
}

type Found = Awaited<ReturnType<typeof fetchAll>>;

function Compared({
  project,
  found,
  all,
  missing,
  onRemove,
}: {
  project: string;
  found: Found;
  all: boolean;
  missing: string[];
  onRemove: (name: string) => void;
}) {
  const base = `/p/${encodeURIComponent(project)}`;
  const told = useMemo(
    () => ({
      parameters: rows(found.map(({ run }) => run.parameters ?? {})),
      logged: kinds(rows(found.map(({ run, steps }) => logged(run, steps)))),
      seconds: rows(found.map(({ steps }) => stepSeconds(steps))),
      environments: environments(
        found.map(({ run }) => digestsOf(run)),
        found[0]?.environments ?? new Map(),
      ),
      artifacts: artifacts(found.map((each) => each.artifacts)),
    }),
    [found],
  );
  const names = found.map(({ run }) => run.name ?? "");
  const kept = <T,>(of: Row<T>[]) => (all ? of : of.filter((each) => !each.same));
  const numbers = kept(told.logged.numbers);
  return (
    <>
      {missing.map((each) => (
        <p
          key={each}
          role="alert"
          className="flex items-center gap-2 rounded-md border border-line bg-wait-soft p-2 text-sm"
        >
          There is no run “{each}” in this project: it may have been deleted.
          <Button small onClick={() => onRemove(each)}>
            Take it away
          </Button>
        </p>
      ))}
      <Card flush>
        <Side
          names={names.map((name, at) => (
            <span key={name} className="flex items-center gap-1.5">
              <span
                aria-hidden
                className="size-2.5 shrink-0 rounded-full"
                style={{ background: `var(${COLOURS[at]})` }}
              />
              <RunLink project={project} run={name} />
              {names.length > FEWEST && (
                <IconButton label={`take ${name} away`} className="size-6!" onClick={() => onRemove(name)}>
                  <X />
                </IconButton>
              )}
            </span>
          ))}
          label="the runs"
          rows={[
            ["state", found.map(({ run }) => <State key={run.id} state={run.state ?? "running"} />)],
            ["started", found.map(({ run }) => <Ago key={run.id} at={run.started_at ?? run.created_at} />)],
            [
              "took",
              found.map(({ run }) => <Took key={run.id} from={run.started_at} to={run.finished_at} />),
            ],
            ["stack", found.map(({ run }) => run.stack || "local")],
            ["commit", found.map(({ run }) => <Commit key={run.id} run={run} />)],
            ["code", found.map(({ run }) => <code key={run.id}>{short(run.bundle)}</code>)],
            [
              "client",
              found.map(({ run }) =>
                run.client ? `Python ${run.client.python}, tilth ${run.client.tilth}` : "–",
              ),
            ],
            [
              "failure",
              found.map(({ run }) =>
                run.failure ? (
                  <span key={run.id} className="text-bad">
                    {run.failure.type || run.failure.reason}
                  </span>
                ) : (
                  ""
                ),
              ),
            ],
          ]}
        />
      </Card>
      <Part
        title="Parameters"
        names={names}
        rows={kept(told.parameters)}
        all={told.parameters.length}
        cell={shown}
      />
      {(numbers.length > 0 || told.logged.series.length > 0) && (
        <Card title="Metrics">
          <div className="grid min-w-0 gap-6 md:grid-cols-2 xl:grid-cols-3">
            {numbers.map((each) => (
              <Bars key={each.name} row={each} names={names} />
            ))}
            {told.logged.series.map((each) => (
              <Lines key={each.name} row={each} names={names} />
            ))}
          </div>
        </Card>
      )}
      {told.logged.others.length > 0 && (
        <Part
          title="Other metadata"
          names={names}
          rows={kept(told.logged.others)}
          all={told.logged.others.length}
          cell={shown}
        />
      )}
      <Card title="How long steps took">
        {told.seconds.length === 0 ? (
          <p className="text-sm text-muted">No step has ended yet.</p>
        ) : (
          <div className="grid min-w-0 gap-x-6 gap-y-4 md:grid-cols-2 xl:grid-cols-3">
            {told.seconds.slice(0, 60).map((each) => (
              <Bars key={each.name} row={each} names={names} format={duration} />
            ))}
          </div>
        )}
      </Card>
      <Card title="Environments" flush>
        {told.environments.length === 0 && <p className="p-4 text-sm text-muted">None is recorded.</p>}
        {told.environments.map((each) => (
          <section key={each.name} className="border-b border-line last:border-b-0">
            <h3 className="flex flex-wrap items-center gap-2 px-4 pt-3 pb-1 text-sm font-medium">
              {each.name}
              {each.digests.same ? (
                <Badge tone="good">the same in all</Badge>
              ) : (
                <Badge tone="wait">
                  {plural(each.packages.length, "package")} differ{each.packages.length === 1 && "s"}
                </Badge>
              )}
              <span className="text-xs font-normal text-muted">
                {plural(each.shared, "package")} in common
              </span>
            </h3>
            <Side
              label={`environment ${each.name}`}
              names={names}
              rows={[
                [
                  "digest",
                  each.digests.values.map((digest, at) =>
                    digest ? (
                      <Link
                        key={`${names[at]} ${digest}`}
                        to={`${base}/environments/${encodeURIComponent(digest)}` as string}
                        className="hover:underline"
                      >
                        <code>{short(digest)}</code>
                      </Link>
                    ) : (
                      "–"
                    ),
                  ),
                ],
                ...kept(each.facts).map((fact): [string, ReactNode[]] => [
                  fact.name,
                  fact.values.map((value) => value ?? "–"),
                ]),
                ...each.packages.map((one): [string, ReactNode[], boolean] => [
                  one.name,
                  one.values.map((value) => value ?? "–"),
                  true,
                ]),
              ]}
            />
          </section>
        ))}
      </Card>
      <Part
        title="Artifacts"
        names={names}
        rows={kept(told.artifacts)}
        all={told.artifacts.length}
        cell={(one) =>
          one ? (
            <Link
              to={`${base}/artifacts/${encodeURIComponent(one.name)}/${one.version}` as string}
              className="hover:underline"
              title={one.digest}
            >
              version {one.version} <span className="text-muted">{bytes(one.size)}</span>{" "}
              <code className="text-xs text-muted">{short(one.digest).slice(0, 8)}</code>
            </Link>
          ) : (
            ""
          )
        }
      />
    </>
  );
}

/** Rows of one kind, each value beneath its run. */
function Part<T>({
  title,
  names,
  rows: told,
  all,
  cell,
}: {
  title: string;
  names: string[];
  rows: Row<T>[];
  all: number;
  cell: (value: T | undefined) => ReactNode;
}) {
  return (
    <Card title={title} flush>
      {told.length === 0 ? (
        <p className="p-4 text-sm text-muted">{all ? `All ${all} are the same.` : "There are none."}</p>
      ) : (
        <Side
          label={title.toLowerCase()}
          names={names}
          rows={told.map((each) => [
            each.name,
            each.values.map((value) => (value === undefined ? "–" : cell(value))),
            !each.same,
          ])}
        />
      )}
    </Card>
  );
}

function Side({
  label,
  names,
  rows: told,
}: {
  label: string;
  names: ReactNode[];
  rows: Array<[string, ReactNode[], boolean?]>;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div tabIndex={0} className="overflow-x-auto">
      <table
        className="w-full table-fixed text-sm"
        aria-label={label}
        style={{ minWidth: `${8 + names.length * 10}rem` }}
      >
        <thead>
          <tr className="border-b border-line text-left">
            <th scope="col" className="w-36 px-4 py-2 font-normal text-muted sm:w-48">
              <span className="sr-only">what</span>
            </th>
            {names.map((each, at) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the runs keep their places
              <th key={at} scope="col" className="truncate px-3 py-2 font-medium">
                {each}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {told.map(([name, values, differs]) => (
            <tr key={name} className="border-b border-line last:border-b-0">
              <th scope="row" className="truncate px-4 py-1.5 text-left font-normal text-muted" title={name}>
                {name}
              </th>
              {values.map((value, at) => (
                <td
                  // biome-ignore lint/suspicious/noArrayIndexKey: the runs keep their places
                  key={at}
                  title={typeof value === "string" ? value : undefined}
                  className={clsx("truncate px-3 py-1.5 tabular-nums", differs && "bg-wait-soft/50")}
                >
                  {value}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A number of each run, as bars from zero. */
function Bars({
  row,
  names,
  format = number,
}: {
  row: Row<number>;
  names: string[];
  format?: (value: number) => string;
}) {
  const sizes = row.values.map((each) => (each !== undefined && Number.isFinite(each) ? Math.abs(each) : 0));
  const most = Math.max(...sizes) || 1;
  return (
    <div className="min-w-0 space-y-1">
      <h3 className="truncate text-sm font-medium" title={row.name}>
        {row.name}
      </h3>
      <ul className="space-y-1">
        {row.values.map((value, at) => (
          <li key={names[at]} className="grid grid-cols-[6rem_1fr_5rem] items-center gap-2 text-xs">
            <span className="truncate text-muted" title={names[at]}>
              {names[at]}
            </span>
            <span className="h-2.5 overflow-hidden rounded-full bg-sunken">
              <span
                className="block h-full rounded-full"
                style={{ width: `${((sizes[at] ?? 0) / most) * 100}%`, background: `var(${COLOURS[at]})` }}
              />
            </span>
            <span className="text-right tabular-nums">{value === undefined ? "–" : format(value)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A list of numbers of each run, as lines over its places. */
function Lines({ row, names }: { row: Row<number[]>; names: string[] }) {
  const { x, series } = useMemo(() => {
    const longest = Math.max(...row.values.map((each) => each?.length ?? 0));
    return {
      x: Array.from({ length: longest }, (_, at) => at + 1),
      series: row.values.flatMap((each, at) =>
        each === undefined
          ? []
          : [
              {
                label: names[at] ?? "",
                colour: COLOURS[at] as string,
                values: Array.from({ length: longest }, (_, place) => each[place] ?? null),
              },
            ],
      ),
    };
  }, [row, names]);
  return (
    <div className="min-w-0 space-y-1">
      <h3 className="truncate text-sm font-medium" title={row.name}>
        {row.name}
      </h3>
      <Chart
        label={`${row.name} of each run`}
        x={x}
        series={series}
        time={false}
        zero={false}
        height={160}
        format={number}
      />
    </div>
  );
}

function Commit({ run }: { run: Run }) {
  const git = run.client?.git;
  if (!git) return "–";
  return (
    <span title={git.commit}>
      <code>{git.commit.slice(0, 8)}</code>
      {git.dirty && "*"} <span className="text-muted">{git.branch}</span>
    </span>
  );
}

function Add({ onAdd }: { onAdd: (name: string) => void }) {
  const [typed, setTyped] = useState("");
  return (
    <form
      className="flex gap-1"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.trim()) onAdd(typed.trim());
        setTyped("");
      }}
    >
      <Input
        aria-label="name of a run to add"
        placeholder="churn-12"
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        className="w-32!"
      />
      <Button type="submit" disabled={!typed.trim()}>
        Add
      </Button>
    </form>
  );
}
