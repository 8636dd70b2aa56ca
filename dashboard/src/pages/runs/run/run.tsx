import { useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Radio, WifiOff } from "lucide-react";
import { Dialog } from "radix-ui";
import { lazy, type ReactNode, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import { ApiError } from "@/api/errors";
import { Button } from "@/ui/button";
import { count } from "@/ui/format";
import { Page } from "@/ui/page";
import { Empty, ErrorView, Loading, Skeleton, sentence } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Tabs } from "@/ui/tabs";
import { Ago, Took } from "@/ui/time";
import { Actions } from "./actions";
import { DetailsTab } from "./details";
import { EnvironmentsTab } from "./environments";
import { type Drawn, picture } from "./fold";
import { To } from "./links";
import { stateCounts } from "./live";
import { LogsTab } from "./logs";
import { type RunGraph, type RunNode, runState } from "./model";
import { graphQuery } from "./queries";
import type { RunSearch } from "./routes";
import { StepPanel } from "./step";
import { StepsTab, StepTable } from "./steps";
import { Ticked } from "./ticked";
import { TimelineView } from "./timeline-view";
import { type Live, useLive } from "./use-live";
import { useShow } from "./use-show";

const Graph = lazy(() => import("./graph"));
const route = getRouteApi("/p/$project/runs/$run");

export default function RunPage() {
  const { project, run } = route.useParams();
  const query = useQuery(graphQuery(project, run));
  const live = useLive(project, run, query.data);
  const crumbs = [{ label: "Runs", to: `/p/${encodeURIComponent(project)}/runs` }];
  const graph = query.data;
  if (!graph) {
    return (
      <Page title={run} crumbs={crumbs} note={query.error ? undefined : <Skeleton className="h-5 w-20" />}>
        {query.error instanceof ApiError && query.error.status === 404 ? (
          <Empty title={`There is no run ${run}`} command="tilth runs list">
            It was deleted, or never was.
          </Empty>
        ) : query.error ? (
          <ErrorView error={query.error} retry={() => void query.refetch()} />
        ) : (
          <Loading rows={8} />
        )}
      </Page>
    );
  }
  const deleted = query.error instanceof ApiError && query.error.status === 404;
  return (
    <Page
      title={graph.run.name || run}
      crumbs={crumbs}
      note={<Note graph={graph} live={live} deleted={deleted} />}
      actions={deleted ? undefined : <Actions graph={graph} />}
    >
      {deleted && (
        <div role="alert" className="rounded-lg border border-line bg-wait-soft px-4 py-3 text-sm text-wait">
          This run was deleted while it was open. What is shown is what was known of it last.
        </div>
      )}
      <Summary graph={graph} />
      <Body graph={graph} />
    </Page>
  );
}

function Note({ graph, live, deleted }: { graph: RunGraph; live: Live; deleted: boolean }) {
  const state = runState(graph);
  return (
    <>
      {state === "interrupted" ? (
        <Badge tone="bad" title="it says that it runs, and nobody drives it">
          interrupted
        </Badge>
      ) : (
        <State state={state} />
      )}
      {deleted ? (
        <Badge tone="wait">deleted</Badge>
      ) : live === "live" && state === "running" ? (
        <span role="status" className="inline-flex items-center gap-1 text-xs text-busy">
          <Radio className="size-3.5" aria-hidden /> live
        </span>
      ) : live === "lost" ? (
        <span role="status" className="inline-flex items-center gap-1 text-xs text-wait">
          <WifiOff className="size-3.5" aria-hidden /> not live, connecting again …
        </span>
      ) : null}
    </>
  );
}

/** What one wants to know first, in one line, and what went wrong. */
function Summary({ graph }: { graph: RunGraph }) {
  const show = useShow();
  const { run, nodes } = graph;
  const counts = useMemo(() => stateCounts(nodes), [nodes]);
  const culprit = nodes.find((each) => each.state === "failed");
  return (
    <div className="space-y-3">
      <div className="flex flex-wrap items-center gap-x-5 gap-y-2 text-sm">
        <Fact name="pipeline">
          <To path={["pipelines", run.pipeline]}>{run.pipeline}</To>
        </Fact>
        <Fact name="began">
          <Ago at={run.started_at} />
        </Fact>
        <Fact name="took">
          <Took from={run.started_at} to={run.finished_at} running={graph.driven} />
        </Fact>
        {run.stack && <Fact name="stack">{run.stack}</Fact>}
        <span className="flex flex-wrap items-center gap-1.5">
          {counts.map(([state, each]) => (
            <button
              key={state}
              type="button"
              className="flex items-center gap-1 rounded-full border border-line bg-surface pr-2 hover:border-accent"
              title={`show the steps that are ${state}`}
              onClick={() => show({ tab: "steps", state })}
            >
              <State state={state} />
              <span className="text-xs tabular-nums">{count(each)}</span>
            </button>
          ))}
        </span>
        {run.tags?.map((each) => (
          <Badge key={each}>{each}</Badge>
        ))}
      </div>
      {run.failure && run.state === "failed" && (
        <div
          role="alert"
          className="flex flex-wrap items-start justify-between gap-x-4 gap-y-2 rounded-lg border border-line bg-bad-soft px-4 py-3 text-sm"
        >
          <div className="min-w-0 space-y-0.5">
            <p className="font-semibold break-words text-bad">
              <Ticked>
                {[run.failure.type, run.failure.message || run.failure.reason].filter(Boolean).join(": ")}
              </Ticked>
            </p>
            {run.failure.mend && (
              <p className="break-words">
                <Ticked>{sentence(run.failure.mend)}</Ticked>
              </p>
            )}
          </div>
          {culprit && (
            <Button small onClick={() => show({ step: culprit.id, item: undefined, alike: undefined })}>
              Show {culprit.id.slice(0, 40)}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <span className="flex items-baseline gap-1.5">
      <span className="text-muted">{name}</span>
      {children}
    </span>
  );
}

function Body({ graph }: { graph: RunGraph }) {
  const search: RunSearch = route.useSearch();
  const show = useShow();
  const openStep = useCallback(
    (step: string) => show({ step, item: undefined, alike: undefined, items: undefined }),
    [show],
  );
  const openDrawn = useCallback(
    (drawn: Drawn) =>
      show({
        step: drawn.members[0]?.id,
        alike: drawn.members.length > 1 || undefined,
        item: undefined,
        items: undefined,
      }),
    [show],
  );
  const tab = search.tab ?? "graph";
  const selected = search.step ?? "";
  const tabs = [
    {
      id: "graph",
      label: "Graph",
      content: (
        <Suspense fallback={<Loading rows={8} />}>
          <Graph
            graph={graph}
            selected={selected}
            unfolded={search.unfolded ?? false}
            onOpen={openDrawn}
            onUnfold={(unfolded) => show({ unfolded: unfolded || undefined }, { replace: true })}
          />
        </Suspense>
      ),
    },
    {
      id: "timeline",
      label: "Timeline",
      content: <TimelineView graph={graph} selected={selected} onOpen={openStep} />,
    },
    {
      id: "steps",
      label: `Steps (${count(graph.nodes.length)})`,
      content: (
        <StepsTab
          graph={graph}
          state={search.state ?? ""}
          q={search.q ?? ""}
          onFilter={(change) => show(change, { replace: true })}
          onOpen={openStep}
        />
      ),
    },
    {
      id: "logs",
      label: "Logs",
      content: (
        <LogsTab run={graph.run} log={search.log ?? ""} onLog={(log) => show({ log }, { replace: true })} />
      ),
    },
    { id: "environments", label: "Environments", content: <EnvironmentsTab graph={graph} /> },
    { id: "details", label: "Details", content: <DetailsTab run={graph.run} /> },
  ];
  const withPanel = selected !== "" && (tab === "graph" || tab === "timeline" || tab === "steps");
  return (
    <Beside
      panel={withPanel ? <Panel graph={graph} search={search} onOpen={openStep} /> : null}
      onClose={() => show({ step: undefined, item: undefined, alike: undefined, items: undefined })}
    >
      <Tabs
        label="views of the run"
        open={tab}
        onOpen={(id) => show({ tab: id === "graph" ? undefined : (id as RunSearch["tab"]) })}
        tabs={tabs}
      />
    </Beside>
  );
}

function Panel({
  graph,
  search,
  onOpen,
}: {
  graph: RunGraph;
  search: RunSearch;
  onOpen: (step: string) => void;
}) {
  const show = useShow();
  const close = () => show({ step: undefined, item: undefined, alike: undefined, items: undefined });
  const node = graph.nodes.find((each) => each.id === search.step);
  const [q, setQ] = useState("");
  if (!node) {
    return (
      <div className="space-y-3 p-4">
        <Empty title="This run has no such step">
          <Button onClick={close}>Close</Button>
        </Empty>
      </div>
    );
  }
  if (search.alike) {
    return (
      <section aria-label="steps that are alike" className="min-w-0">
        <header className="flex items-center justify-between gap-2 border-b border-line px-4 py-2.5">
          <h2 className="font-semibold">Steps like {node.id}</h2>
          <Button small look="quiet" onClick={close}>
            Close
          </Button>
        </header>
        <div className="p-4">
          <StepTable
            name="run-alike"
            nodes={alikeOf(graph, node)}
            onOpen={onOpen}
            state={search.items ?? ""}
            q={q}
            onFilter={(change) => {
              if ("q" in change) setQ(change.q ?? "");
              else show({ items: change.state }, { replace: true });
            }}
          />
        </div>
      </section>
    );
  }
  return (
    <StepPanel
      graph={graph}
      node={node}
      item={search.item ?? null}
      state={search.items ?? ""}
      onItem={(item) => show({ item })}
      onState={(items) => show({ items }, { replace: true })}
      onLog={(log) => show({ tab: "logs", log })}
      onClose={close}
    />
  );
}

/** The steps that stand in one node of the graph with a step. */
function alikeOf(graph: RunGraph, node: RunNode): RunNode[] {
  const home = picture(graph.nodes, graph.edges).nodes.find((each) => each.members.includes(node));
  return home?.members ?? graph.nodes.filter((each) => each.function === node.function);
}

const WIDE = "(min-width: 1024px)";

/** Details beside a view; on a narrow screen over it. */
function Beside({
  panel,
  onClose,
  children,
}: {
  panel: ReactNode;
  onClose: () => void;
  children: ReactNode;
}) {
  const wide = useMedia(WIDE);
  return (
    <div
      className={panel && wide ? "grid grid-cols-[minmax(0,1fr)_minmax(24rem,32rem)] items-start gap-4" : ""}
    >
      <div className="min-w-0">{children}</div>
      {panel && wide && (
        <aside className="sticky top-4 max-h-[calc(100vh-2rem)] overflow-y-auto rounded-lg border border-line bg-surface shadow-card">
          {panel}
        </aside>
      )}
      {panel && !wide && (
        <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
          <Dialog.Portal>
            <Dialog.Overlay className="fixed inset-0 z-40 bg-black/40" />
            <Dialog.Content
              aria-describedby={undefined}
              className="fixed inset-x-0 top-10 bottom-0 z-50 overflow-y-auto rounded-t-lg border border-line bg-surface shadow-pop outline-none"
            >
              <Dialog.Title className="sr-only">Details</Dialog.Title>
              {panel}
            </Dialog.Content>
          </Dialog.Portal>
        </Dialog.Root>
      )}
    </div>
  );
}

function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => window.matchMedia(query).matches);
  useEffect(() => {
    const media = window.matchMedia(query);
    const look = () => setHolds(media.matches);
    look();
    media.addEventListener("change", look);
    return () => media.removeEventListener("change", look);
  }, [query]);
  return holds;
}
