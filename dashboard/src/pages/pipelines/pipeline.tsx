import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { api, data } from "@/api/client";
import { DaysSelect, SpanCharts } from "@/pages/overview/charts";
import { percent, readDays, shiftS } from "@/pages/overview/spans";
import { RunLink, shown } from "@/pages/runs/columns";
import { type Filters, NONE, readFilters, writeFilters } from "@/pages/runs/filters";
import { runRows } from "@/pages/runs/queries";
import { RunTable } from "@/pages/runs/run-table";
import { useProject } from "@/shell/project";
import { Card, Figure } from "@/ui/card";
import { Chart } from "@/ui/chart";
import { count, duration, plural } from "@/ui/format";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { State } from "@/ui/state";
import { Ago, useNow } from "@/ui/time";
import { type Given, given } from "./parameters";

/** One pipeline: how its runs go over time, what they were given, and all of them. */
export default function PipelinePage() {
  const project = useProject();
  const { pipeline } = useParams({ strict: false }) as { pipeline: string };
  const search = useSearch({ strict: false }) as Record<string, unknown>;
  const days = readDays(search.days, 30);
  const filters = useMemo(() => readFilters(search), [search]);
  const navigate = useNavigate();
  const now = useNow(60_000);
  const to = useCallback(
    (next: Filters, span: number) =>
      void navigate({
        to: ".",
        search: { ...writeFilters({ ...next, pipeline: [] }), ...(span !== 30 && { days: span }) } as never,
        replace: true,
        resetScroll: false,
      }),
    [navigate],
  );
  const query = useQuery({
    queryKey: ["pipeline", project, pipeline, days],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/pipelines/{pipeline}", {
          params: { path: { project, pipeline }, query: { days, shift_s: shiftS(Date.now()) } },
        }),
      ),
    placeholderData: keepPreviousData,
    refetchInterval: 30_000,
  });
  const base = `/p/${encodeURIComponent(project)}`;
  return (
    <Page
      title={pipeline}
      crumbs={[{ label: "Pipelines", to: `${base}/pipelines` }]}
      note={query.data?.pipeline.last && <State state={query.data.pipeline.last.state} />}
      actions={<DaysSelect days={days} onChange={(next) => to(filters, next)} />}
    >
      <Answer query={query}>
        {({ pipeline: found, spans, span_s }) => (
          <>
            <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card sm:grid-cols-4">
              <Figure
                label="newest run"
                value={found.last ? <RunLink project={project} run={found.last.name} /> : "–"}
                note={found.last && <Ago at={found.last.created_at} />}
              />
              <Figure
                label={`succeeded, of the newest ${found.recent.length}`}
                value={percent(found.success)}
                note={`${count(found.states.failed ?? 0)} of all ${count(found.runs)} failed`}
              />
              <Figure label="usually takes" value={duration(found.median_s)} />
              <Figure
                label="environments"
                value={
                  <Link
                    to={`${base}/environments` as string}
                    search={{ pipeline } as never}
                    className="text-base font-medium hover:underline"
                  >
                    side by side
                  </Link>
                }
              />
            </div>
            <SpanCharts spans={spans} spanS={span_s} days={days} now={now} />
            <Parameters project={project} pipeline={pipeline} />
          </>
        )}
      </Answer>
      <section aria-label="runs of this pipeline" className="space-y-2">
        <h2 className="font-semibold">Runs</h2>
        <RunTable
          key={`${project} ${pipeline}`}
          project={project}
          pipeline={pipeline}
          filters={filters}
          onChange={(next) => to(next, days)}
          height="32rem"
        />
      </section>
    </Page>
  );
}

/** What the newest 100 runs were given. */
function Parameters({ project, pipeline }: { project: string; pipeline: string }) {
  const query = useInfiniteQuery(runRows(project, { ...NONE, pipeline: [pipeline] }));
  const runs = query.data?.pages[0]?.items;
  const found = useMemo(() => given(runs ?? []), [runs]);
  if (found.length === 0) return null;
  return (
    <Card title={`Parameters of the newest ${plural(runs?.length ?? 0, "run")}`}>
      <div className="grid gap-6 md:grid-cols-2 xl:grid-cols-3">
        {found.map((each) => (
          <Parameter key={each.name} parameter={each} />
        ))}
      </div>
    </Card>
  );
}

function Parameter({ parameter: { name, last, values, distinct, points } }: { parameter: Given }) {
  const x = useMemo(() => points.map((_, at) => at + 1), [points]);
  const series = useMemo(
    () => [{ label: name, colour: "--accent", values: points.map((each) => each.value) }],
    [name, points],
  );
  return (
    <div className="min-w-0 space-y-1.5">
      <h3 className="flex items-baseline justify-between gap-2 text-sm">
        <code className="truncate font-medium">{name}</code>
        <span className="truncate text-xs text-muted" title={shown(last)}>
          last: {shown(last)}
        </span>
      </h3>
      {points.length > 1 && distinct > 3 ? (
        <Chart
          label={`${name} of each run, the oldest first`}
          x={x}
          series={series}
          time={false}
          zero={false}
          height={110}
          format={shown}
          xLabel={(at) => points[at - 1]?.run ?? ""}
        />
      ) : (
        <ul className="space-y-1">
          {values.map((each) => (
            <li key={each.text} className="flex items-center gap-2 text-xs">
              <span className="min-w-0 grow truncate" title={each.text}>
                {shown(each.value)}
              </span>
              <span className="shrink-0 text-muted">
                {plural(each.runs, "run")}
                {each.failed > 0 && <span className="text-bad">, {each.failed} failed</span>}
              </span>
            </li>
          ))}
          {distinct > values.length && (
            <li className="text-xs text-muted">and {plural(distinct - values.length, "more value")}</li>
          )}
        </ul>
      )}
    </div>
  );
}
