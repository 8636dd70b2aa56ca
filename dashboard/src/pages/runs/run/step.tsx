import { useQuery } from "@tanstack/react-query";
import { ChevronLeft, FileText, X } from "lucide-react";
import type { ReactNode } from "react";
import { useProject } from "@/shell/project";
import { Button, IconButton } from "@/ui/button";
import { Facts } from "@/ui/card";
import { Command, Digest } from "@/ui/copy";
import { bytes, duration } from "@/ui/format";
import { Answer, sentence } from "@/ui/said";
import { State } from "@/ui/state";
import { Ago, Took } from "@/ui/time";
import { stepCommands } from "./commands";
import { CountBar, drawnCounts } from "./counts";
import { Items } from "./items";
import { To } from "./links";
import { type Failure, isFinal, type RunGraph, type RunNode, type StepDetail, type StepRun } from "./model";
import { stepQuery } from "./queries";
import { Reasons } from "./reasons";
import { SourceView } from "./source";
import { Ticked } from "./ticked";
import { PHASES, timeline } from "./timeline";
import { Json, Values } from "./values";

/** All that is known of one step, or of one item of it. */
export function StepPanel({
  graph,
  node,
  item,
  state,
  onItem,
  onState,
  onLog,
  onClose,
}: {
  graph: RunGraph;
  node: RunNode;
  item: number | null;
  state: string;
  onItem: (item: number | undefined) => void;
  onState: (state: string | undefined) => void;
  onLog: (log: string) => void;
  onClose: () => void;
}) {
  const project = useProject();
  const run = graph.run.name ?? graph.run.id;
  const at = node.last ? `${node.last.id}.${node.last.revision}` : node.state;
  const query = useQuery(stepQuery(project, run, node.id, item, item === null ? at : `${node.state}`));
  const last = query.data?.attempts.at(-1);
  const shown = item === null ? node.state : (last?.state ?? "queued");
  return (
    <section
      aria-label={item === null ? `step ${node.id}` : `item ${item} of step ${node.id}`}
      className="min-w-0"
    >
      <header className="sticky top-0 z-10 flex items-start justify-between gap-2 border-b border-line bg-surface px-4 py-2.5">
        <div className="min-w-0">
          {item !== null && (
            <Button small look="quiet" className="-ml-2" onClick={() => onItem(undefined)}>
              <ChevronLeft /> All items
            </Button>
          )}
          <div className="flex flex-wrap items-center gap-2">
            <h2 className="font-semibold break-all">{item === null ? node.id : `${node.id}[${item}]`}</h2>
            <State state={shown} />
          </div>
        </div>
        <IconButton label="close the details" className="-mr-2" onClick={onClose}>
          <X />
        </IconButton>
      </header>
      <Answer query={query}>
        {(detail) => (
          <Details
            graph={graph}
            node={node}
            item={item}
            detail={detail}
            state={state}
            onItem={onItem}
            onState={onState}
            onLog={onLog}
          />
        )}
      </Answer>
    </section>
  );
}

function Details({
  graph,
  node,
  item,
  detail,
  state,
  onItem,
  onState,
  onLog,
}: {
  graph: RunGraph;
  node: RunNode;
  item: number | null;
  detail: StepDetail;
  state: string;
  onItem: (item: number | undefined) => void;
  onState: (state: string | undefined) => void;
  onLog: (log: string) => void;
}) {
  const run = graph.run.name ?? graph.run.id;
  const last = detail.attempts.at(-1);
  const mapped = node.items !== null && node.items !== undefined && item === null;
  return (
    <div className="divide-y divide-line [&>*]:p-4">
      {last?.failure && last.state !== "skipped" && <FailureView failure={last.failure} />}
      {last?.failure && last.state === "skipped" && (
        <p className="text-sm text-muted">
          <Ticked>{sentence(last.failure.message || last.failure.reason)}</Ticked>
        </p>
      )}
      {!last && !mapped && (
        <p className="text-sm text-muted">
          {isFinal(graph.run.state)
            ? "It never began: the run ended before."
            : "It has not begun: it waits for what it needs."}
        </p>
      )}
      {mapped && (
        <Part title="Items">
          <MappedCounts node={node} />
          <Items run={run} node={node} state={state} onState={onState} onOpen={onItem} />
        </Part>
      )}
      {last && last.state !== "skipped" && (last.cache_reason || detail.compared) && (
        <Part title={last.state === "cached" ? "Why it was reused" : "Why it ran"}>
          <Reasons detail={detail} stepRun={last} />
        </Part>
      )}
      {last && last.state !== "skipped" && <Spent graph={graph} node={node} stepRun={last} onLog={onLog} />}
      {last && (
        <Part title="Inputs and outputs">
          <Values stepRun={last} />
          {detail.declared && <Declared detail={detail} />}
        </Part>
      )}
      {last && Object.keys({ ...last.metadata, ...last.run_metadata }).length > 0 && (
        <Part title="Metadata">
          <Facts
            items={[
              ...Object.entries(last.metadata ?? {}),
              ...Object.entries(last.run_metadata ?? {}).map(([name, value]): [string, unknown] => [
                `${name} (of the run)`,
                value,
              ]),
            ].map(([name, value]): [string, ReactNode] => [name, <Json key={name} value={value} />])}
          />
        </Part>
      )}
      {last && last.state !== "skipped" && (
        <Part title="On your machine">
          <ul className="space-y-2">
            {stepCommands(run, node.id, item).map(([about, command]) => (
              <li key={command} className="min-w-0 text-sm">
                <p className="mb-1 text-muted">{about}</p>
                <Command>{command}</Command>
              </li>
            ))}
          </ul>
        </Part>
      )}
      {detail.attempts.length > 1 && (
        <Part title={`${detail.attempts.length} attempts`}>
          <ol className="space-y-1.5 text-sm">
            {detail.attempts.map((each) => (
              <li key={each.id} className="flex flex-wrap items-center gap-2">
                <span className="w-6 text-muted tabular-nums">{each.attempt}</span>
                <State state={each.state ?? "queued"} bare />
                <Took from={each.started_at} to={each.finished_at} running={!isFinal(each.state)} />
                <span className="min-w-0 break-words text-muted">
                  {each.failure && [each.failure.type, each.failure.message].filter(Boolean).join(": ")}
                </span>
              </li>
            ))}
          </ol>
        </Part>
      )}
      <Part title="Source">
        {detail.source ? (
          <SourceView source={detail.source} />
        ) : (
          <p className="text-sm text-muted">
            The server does not have it: this run came from an older tilth, or its file changed before it was
            sent. <code>tilth env checkout</code> brings it.
          </p>
        )}
      </Part>
    </div>
  );
}

export function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="min-w-0 space-y-2">
      <h3 className="text-sm font-semibold">{title}</h3>
      {children}
    </section>
  );
}

/** What went wrong, in whole. */
export function FailureView({ failure }: { failure: Failure }) {
  return (
    <section aria-label="failure" className="min-w-0 space-y-2 bg-bad-soft">
      <h3 className="text-sm font-semibold break-words text-bad">
        <Ticked>{[failure.type || failure.reason, failure.message].filter(Boolean).join(": ")}</Ticked>
      </h3>
      {failure.traceback && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <pre tabIndex={0} className={TRACEBACK}>
          {failure.traceback}
        </pre>
      )}
      {failure.mend && (
        <p className="text-sm break-words">
          <Ticked>{sentence(failure.mend)}</Ticked>
        </p>
      )}
    </section>
  );
}

const TRACEBACK = "max-h-72 overflow-auto rounded border border-line bg-surface p-2 text-xs";

function MappedCounts({ node }: { node: RunNode }) {
  const counted = drawnCounts({ id: node.id, members: [node] });
  if (!counted || counted.counts.length === 0) return null;
  return <CountBar counts={counted.counts} total={counted.total} />;
}

/** Where the time of one attempt went, and what else it used. */
function Spent({
  graph,
  node,
  stepRun,
  onLog,
}: {
  graph: RunGraph;
  node: RunNode;
  stepRun: StepRun;
  onLog: (log: string) => void;
}) {
  const isItem = stepRun.index !== null && stepRun.index !== undefined;
  const bar = timeline(
    graph.run,
    [{ ...node, state: stepRun.state ?? "queued", last: stepRun as never }],
    Date.now(),
  ).bars[0];
  const parts = PHASES.map((phase) => bar?.parts.find((each) => each.phase === phase)).filter(
    (each) => each !== undefined,
  );
  const digest = stepRun.environment || graph.run.client?.environment || "";
  const name = Object.entries(graph.run.environments ?? {}).find(
    ([, each]) => each === stepRun.environment,
  )?.[0];
  const image = name ? graph.run.images?.[name] : "";
  const index = isItem ? `.${stepRun.index}` : "";
  const log = `${stepRun.step}${index}.${stepRun.attempt}.log`;
  const spent = parts
    .filter((each) => each.end - each.start >= 0.0005)
    .map((each) => `${each.phase} ${duration(each.end - each.start)}`)
    .join(" · ");
  return (
    <Part title="Time and place">
      <Facts
        items={[
          ["began", <Ago key="began" at={stepRun.started_at} />],
          stepRun.state !== "cached" && [
            "took",
            <span key="took">
              <Took from={stepRun.started_at} to={stepRun.finished_at} running={!isFinal(stepRun.state)} />
              {spent && node.items && !isItem
                ? null
                : spent && <span className="block text-xs text-muted">{spent}</span>}
            </span>,
          ],
          Boolean(stepRun.peak_memory) && ["peak memory", bytes(stepRun.peak_memory)],
          [
            "environment",
            digest ? (
              <span key="environment" className="flex flex-wrap items-baseline gap-x-2">
                <To path={["environments", digest]}>
                  {name ?? (stepRun.environment ? "its own" : "the client’s")}
                </To>
                <Digest value={digest} length={8} />
              </span>
            ) : (
              "the client’s"
            ),
          ],
          Boolean(image) && ["image", <Digest key="image" value={image ?? ""} length={8} />],
          (stepRun.log_bytes ?? 0) > 0 && [
            "log",
            <Button key="log" small onClick={() => onLog(log)}>
              <FileText /> Open its log ({bytes(stepRun.log_bytes)})
            </Button>,
          ],
        ]}
      />
    </Part>
  );
}

function Declared({ detail }: { detail: StepDetail }) {
  const told = detail.declared;
  if (!told) return null;
  const list = (value: Record<string, unknown> | undefined) =>
    Object.entries(value ?? {})
      .filter(([, each]) => each !== null && each !== undefined)
      .map(([name, each]) => `${name} ${typeof each === "string" ? each : JSON.stringify(each)}`)
      .join(", ");
  return (
    <details className="text-sm">
      <summary className="cursor-pointer text-muted hover:text-ink">What it declares</summary>
      <div className="pt-2">
        <Facts
          items={[
            [
              "function",
              <code key="function" className="break-all">
                {told.function}
              </code>,
            ],
            told.map.length > 0 && ["mapped over", told.map.join(", ")],
            told.after.length > 0 && ["after", told.after.join(", ")],
            ["outputs", list(told.outputs) || "none"],
            ["cache", told.cache ? "on" : "off"],
            list(told.resources) !== "" && ["resources", list(told.resources)],
            list(told.retry) !== "" && ["retry", list(told.retry)],
            told.timeout_s !== null && told.timeout_s !== undefined && ["timeout", duration(told.timeout_s)],
            told.worker !== "warm" && ["worker", told.worker],
            list(told.secrets) !== "" && ["secrets", list(told.secrets)],
            told.tags.length > 0 && ["tags", told.tags.join(", ")],
          ]}
        />
      </div>
    </details>
  );
}
