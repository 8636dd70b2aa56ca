import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";
import { RunLink } from "@/pages/runs/columns";
import { useProject } from "@/shell/project";
import { Card, Figure } from "@/ui/card";
import { Command } from "@/ui/copy";
import { count, plural } from "@/ui/format";
import { Page } from "@/ui/page";
import { Answer, Empty, Skeleton } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Ago, Took, useNow } from "@/ui/time";
import { DaysSelect, SpanCharts } from "./charts";
import { percent, readDays, shiftS, totals, yesterday } from "./spans";

type Overview = components["schemas"]["Overview"];

/** What runs now, what failed since yesterday, what is due next, and how runs went over time. */
export default function OverviewPage() {
  const project = useProject();
  const { days: given } = useSearch({ strict: false }) as { days?: number };
  const days = readDays(given, 14);
  const navigate = useNavigate();
  const query = useQuery({
    queryKey: ["overview", project, days],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/overview", {
          params: {
            path: { project },
            query: { days, since: yesterday(Date.now()), shift_s: shiftS(Date.now()) },
          },
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) =>
      state.data?.running.length || state.data?.waiting.length ? 4_000 : 8_000,
  });
  return (
    <Page
      title="Overview"
      actions={
        <DaysSelect
          days={days}
          onChange={(next) => void navigate({ to: ".", search: { days: next } as never, replace: true })}
        />
      }
    >
      <Answer query={query} loading={<Waiting />}>
        {(found) =>
          found.any_runs || found.waiting.length > 0 || found.due.length > 0 ? (
            <Found project={project} found={found} days={days} />
          ) : (
            <First project={project} />
          )
        }
      </Answer>
    </Page>
  );
}

function Found({ project, found, days }: { project: string; found: Overview; days: number }) {
  const base = `/p/${encodeURIComponent(project)}`;
  const now = useNow(60_000);
  const { runs, success } = totals(found.spans);
  const span = days === 1 ? "in 24 hours" : `in ${days} days`;
  return (
    <>
      <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card sm:grid-cols-4">
        <Figure
          label="running now"
          value={`${count(found.running.length)}${found.more_running ? "+" : ""}`}
          note={found.waiting.length > 0 && `${plural(found.waiting.length, "more")} waiting`}
        />
        <Figure
          label="failed since yesterday"
          value={
            <span className={found.failed.length ? "text-bad" : ""}>
              {count(found.failed.length)}
              {found.more_failed && "+"}
            </span>
          }
        />
        <Figure label={`succeeded ${span}`} value={percent(success)} />
        <Figure label={`runs ${span}`} value={count(runs)} />
      </div>
      <div className="grid min-w-0 gap-4 lg:grid-cols-2 xl:grid-cols-3">
        <Running project={project} found={found} />
        <Card
          title="Failed since yesterday"
          actions={
            found.failed.length > 0 && (
              <Link
                to={`${base}/runs` as string}
                search={{ state: ["failed"], since: "30d" } as never}
                className="text-xs text-muted hover:underline"
              >
                all failed runs
              </Link>
            )
          }
          flush
        >
          <List nothing="Nothing failed.">
            {found.failed.map((each) => (
              <li key={each.id} className="space-y-0.5 px-4 py-2">
                <div className="flex items-center justify-between gap-3">
                  <span className="min-w-0 truncate">
                    <RunLink project={project} run={each.name} />
                  </span>
                  <span className="shrink-0 text-xs text-muted">
                    <Ago at={each.finished_at} />
                  </span>
                </div>
                <p className="truncate text-xs text-bad" title={each.failure}>
                  {each.failure || each.reason}
                </p>
              </li>
            ))}
          </List>
        </Card>
        <Card
          title="Scheduled next"
          className="lg:col-span-2 xl:col-span-1"
          actions={
            <Link to={`${base}/schedules` as string} className="text-xs text-muted hover:underline">
              schedules
            </Link>
          }
          flush
        >
          <List
            nothing={
              <>
                Nothing is scheduled.
                <Command>tilth schedules create --help</Command>
              </>
            }
          >
            {found.due.map((each) => (
              <li key={each.name} className="flex items-center justify-between gap-3 px-4 py-2">
                <div className="min-w-0">
                  <p className="truncate font-medium">{each.name}</p>
                  <p className="truncate text-xs text-muted">
                    snapshot {each.snapshot} · <code>{each.rule}</code>
                    {each.timezone !== "UTC" && ` ${each.timezone}`}
                  </p>
                </div>
                <span className="shrink-0 text-sm">
                  <Ago at={each.next_at} />
                </span>
              </li>
            ))}
          </List>
        </Card>
      </div>
      <SpanCharts spans={found.spans} spanS={found.span_s} days={days} now={now} />
    </>
  );
}

function Running({ project, found }: { project: string; found: Overview }) {
  return (
    <Card
      title="Running now"
      actions={
        found.running.length > 0 && (
          <Link
            to={`/p/${encodeURIComponent(project)}/runs` as string}
            search={{ state: ["running", "queued"] } as never}
            className="text-xs text-muted hover:underline"
          >
            all that run
          </Link>
        )
      }
      flush
    >
      <List nothing="Nothing runs." empty={found.running.length + found.waiting.length === 0}>
        {found.running.map(({ run, driven, steps }) => (
          <li key={run.id} className="space-y-1.5 px-4 py-2">
            <div className="flex items-center justify-between gap-3">
              <span className="min-w-0 truncate">
                <RunLink project={project} run={run.name} />
              </span>
              <span className="flex shrink-0 items-center gap-2 text-xs text-muted">
                {driven ? (
                  <Took from={run.started_at ?? run.created_at} to={null} running />
                ) : (
                  <Badge
                    tone="wait"
                    title="nobody drives it: its driver ended without saying so, or has just begun"
                  >
                    no driver
                  </Badge>
                )}
                <State state={run.state} bare />
              </span>
            </div>
            <Progress steps={steps} total={run.steps} />
          </li>
        ))}
        {found.waiting.map((each) => (
          <li key={each.id} className="flex items-center justify-between gap-3 px-4 py-2">
            <div className="min-w-0">
              <p className="truncate font-medium">{each.pipeline}</p>
              <p className="truncate text-xs text-muted">
                asked for by {each.cause}, <Ago at={each.created_at} />
              </p>
            </div>
            <State state="queued" />
          </li>
        ))}
      </List>
    </Card>
  );
}

/** How many steps are over, as a bar. */
function Progress({ steps, total }: { steps: Record<string, number>; total: number }) {
  const all = Math.max(
    total,
    Object.values(steps).reduce((sum, each) => sum + each, 0),
    1,
  );
  const good = (steps.completed ?? 0) + (steps.cached ?? 0) + (steps.skipped ?? 0);
  const bad = (steps.failed ?? 0) + (steps.cancelled ?? 0);
  const busy = steps.running ?? 0;
  return (
    <div className="flex items-center gap-2">
      <div
        role="progressbar"
        aria-valuemin={0}
        aria-valuemax={all}
        aria-valuenow={good + bad}
        aria-label="steps that are over"
        className="flex h-1.5 min-w-0 grow overflow-hidden rounded-full bg-line"
      >
        <span className="bg-good" style={{ width: `${(good / all) * 100}%` }} />
        <span className="bg-bad" style={{ width: `${(bad / all) * 100}%` }} />
        <span className="animate-pulse bg-busy" style={{ width: `${(busy / all) * 100}%` }} />
      </div>
      <span className="text-xs text-muted tabular-nums">
        {count(good + bad)} of {plural(all, "step")}
      </span>
    </div>
  );
}

function List({ children, nothing, empty }: { children: ReactNode; nothing: ReactNode; empty?: boolean }) {
  const none = empty ?? (Array.isArray(children) && children.length === 0);
  if (none) return <div className="flex flex-col items-start gap-2 p-4 text-sm text-muted">{nothing}</div>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <ul tabIndex={0} className="max-h-80 divide-y divide-line overflow-y-auto">
      {children}
    </ul>
  );
}

/** The page of a project without runs: how to make the first. */
function First({ project }: { project: string }) {
  return (
    <Card>
      <Empty title="No runs yet" command={[`tilth login ${window.location.origin}`, "tilth run pipeline.py"]}>
        Log in from where your pipelines are, then start one: it shows up here while it runs. Which project
        its records go to, its <code>tilth.toml</code> says: <code>project = "{project}"</code>.
      </Empty>
    </Card>
  );
}

function Waiting() {
  return (
    <div role="status" aria-label="loading" className="space-y-4">
      <Skeleton className="h-20 w-full rounded-lg" />
      <div className="grid gap-4 lg:grid-cols-2 xl:grid-cols-3">
        <Skeleton className="h-40 rounded-lg" />
        <Skeleton className="h-40 rounded-lg" />
        <Skeleton className="h-40 rounded-lg" />
      </div>
      <div className="grid gap-4 lg:grid-cols-2">
        <Skeleton className="h-64 rounded-lg" />
        <Skeleton className="h-64 rounded-lg" />
      </div>
    </div>
  );
}
