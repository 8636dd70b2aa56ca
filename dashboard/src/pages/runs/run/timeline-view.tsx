import { useVirtualizer } from "@tanstack/react-virtual";
import clsx from "clsx";
import { Minus, Plus } from "lucide-react";
import { useMemo, useRef, useState } from "react";
import { IconButton } from "@/ui/button";
import { Card } from "@/ui/card";
import { duration, plural } from "@/ui/format";
import { Empty } from "@/ui/said";
import { State } from "@/ui/state";
import { useNow } from "@/ui/time";
import { isFinal, type RunGraph } from "./model";
import { ABOUT, type Bar, PHASES, type Phase, ticks, timeline } from "./timeline";

const ROW = 30; // px
const NAMES = "w-32 sm:w-52"; // the column of names
const SCROLLER = "max-h-[calc(100vh-22rem)] min-h-40 overflow-auto rounded-b-lg";
const ZOOMS = [1, 2, 4, 8, 16, 32, 64];

const COLOURS: Record<Phase, string> = {
  queued: "var(--line-strong)",
  environment: "var(--cached)",
  starting: "var(--calm)",
  loading: "var(--wait)",
  running: "var(--busy)",
  saving: "var(--accent)",
};

/** Where the time of a run went: a row for each step that has begun. */
export function TimelineView({
  graph,
  selected,
  onOpen,
}: {
  graph: RunGraph;
  selected: string;
  onOpen: (step: string) => void;
}) {
  const now = useNow(1000, graph.driven && !isFinal(graph.run.state));
  const told = useMemo(() => timeline(graph.run, graph.nodes, now), [graph.run, graph.nodes, now]);
  const [zoom, setZoom] = useState(1);
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: told.bars.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 12,
  });
  if (told.bars.length === 0) return <Empty title="No step has begun">The timeline fills as steps do.</Empty>;
  const marks = ticks(told.length, 6 * zoom);
  const at = ZOOMS.indexOf(zoom);
  return (
    <div className="space-y-4">
      <Where totals={told.totals} />
      <Card
        flush
        title="When each step did what"
        actions={
          <div className="flex items-center">
            <IconButton label="shorter" disabled={at === 0} onClick={() => setZoom(ZOOMS[at - 1] ?? 1)}>
              <Minus />
            </IconButton>
            <span className="w-10 text-center text-xs text-muted tabular-nums">{zoom}×</span>
            <IconButton
              label="longer"
              disabled={at === ZOOMS.length - 1}
              onClick={() => setZoom(ZOOMS[at + 1] ?? zoom)}
            >
              <Plus />
            </IconButton>
          </div>
        }
      >
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
        <div ref={scroller} tabIndex={0} className={SCROLLER}>
          <div style={{ minWidth: `max(560px, ${zoom * 100}%)` }}>
            <div className="sticky top-0 z-20 flex h-7 border-b border-line bg-surface text-xs text-muted">
              <span
                className={`sticky left-0 z-10 flex shrink-0 items-center border-r border-line bg-surface px-3 ${NAMES}`}
              >
                step
              </span>
              <span className="relative mr-12 grow">
                {marks.map((each) => (
                  <span
                    key={each}
                    className="absolute top-1 pl-1 whitespace-nowrap tabular-nums"
                    style={{ left: `${(each / told.length) * 100}%` }}
                  >
                    {each === 0 ? "0" : duration(each)}
                  </span>
                ))}
              </span>
            </div>
            <ol
              aria-label="timeline of the steps"
              className="relative"
              style={{ height: virtual.getTotalSize() }}
            >
              {virtual.getVirtualItems().map((item) => {
                const bar = told.bars[item.index] as Bar;
                return (
                  <li
                    key={bar.id}
                    aria-posinset={item.index + 1}
                    aria-setsize={told.bars.length}
                    className={clsx(
                      "absolute inset-x-0 flex border-b border-line",
                      bar.id === selected ? "bg-accent-soft" : "hover:bg-sunken",
                    )}
                    style={{ height: ROW, transform: `translateY(${item.start}px)` }}
                  >
                    <Row
                      bar={bar}
                      length={told.length}
                      marks={marks}
                      selected={bar.id === selected}
                      onOpen={onOpen}
                    />
                  </li>
                );
              })}
            </ol>
          </div>
        </div>
      </Card>
      {told.waiting > 0 && (
        <p className="text-sm text-muted">
          {`${plural(told.waiting, "step")} more ${told.waiting === 1 ? "has" : "have"} not begun, or never did.`}
        </p>
      )}
    </div>
  );
}

function Row({
  bar,
  length,
  marks,
  selected,
  onOpen,
}: {
  bar: Bar;
  length: number;
  marks: number[];
  selected: boolean;
  onOpen: (step: string) => void;
}) {
  const words = bar.parts.map((each) => `${each.phase} ${duration(each.end - each.start)}`).join(", ");
  const percent = (seconds: number) => `${(seconds / length) * 100}%`;
  return (
    <>
      <button
        type="button"
        aria-pressed={selected}
        title={bar.id}
        onClick={() => onOpen(bar.id)}
        className={clsx(
          "sticky left-0 z-10 flex shrink-0 items-center gap-2 border-r border-line px-3 text-left text-[13px] hover:underline focus-visible:outline-offset-[-2px]",
          NAMES,
          selected ? "bg-accent-soft" : "bg-surface",
        )}
      >
        <span className="min-w-0 grow truncate">{bar.id}</span>
        {bar.state !== "completed" && <State state={bar.state} bare />}
      </button>
      <span className="relative mr-12 grow">
        {marks.map((each) => (
          <span
            key={each}
            aria-hidden
            className="absolute inset-y-0 w-px bg-line"
            style={{ left: percent(each) }}
          />
        ))}
        {bar.parts.map((each) => (
          <span
            key={each.phase}
            aria-hidden
            title={`${each.phase} ${duration(each.end - each.start)}: ${ABOUT[each.phase]}`}
            className="absolute top-2 h-3.5 min-w-0.5 first-of-type:rounded-l last-of-type:rounded-r"
            style={{
              left: percent(each.start),
              width: percent(each.end - each.start),
              background:
                each.phase === "running" && bar.state === "failed" ? "var(--bad)" : COLOURS[each.phase],
            }}
          />
        ))}
        {bar.parts.length === 0 && (
          <span
            aria-hidden
            title="no time at all"
            className="absolute top-2 h-3.5 w-0.5 bg-cached"
            style={{ left: percent(bar.start) }}
          />
        )}
        <span className="sr-only">{words || "no time at all"}</span>
        <span
          aria-hidden
          className="absolute top-1.5 pl-1.5 text-xs whitespace-nowrap text-muted tabular-nums"
          style={{ left: percent(bar.end) }}
        >
          {duration(bar.end - bar.start)}
        </span>
      </span>
    </>
  );
}

/** How the steps' time divides into what it was spent on. */
function Where({ totals }: { totals: Array<[Phase, number]> }) {
  const all = totals.reduce((sum, [, each]) => sum + each, 0) || 1;
  return (
    <Card title="Where the steps’ time went">
      <span aria-hidden className="flex h-3 w-full overflow-hidden rounded-full bg-line">
        {totals.map(([phase, seconds]) => (
          <span key={phase} style={{ width: `${(seconds / all) * 100}%`, background: COLOURS[phase] }} />
        ))}
      </span>
      <dl className="mt-3 flex flex-wrap gap-x-6 gap-y-2">
        {PHASES.map((phase) => {
          const seconds = totals.find(([each]) => each === phase)?.[1] ?? 0;
          return (
            <div key={phase} title={ABOUT[phase]} className={seconds ? "" : "opacity-70"}>
              <dt className="flex items-center gap-1.5 text-xs text-muted">
                <span aria-hidden className="size-2.5 rounded-sm" style={{ background: COLOURS[phase] }} />
                {phase}
              </dt>
              <dd className="text-sm font-medium tabular-nums">
                {seconds ? duration(seconds) : "–"}
                {seconds ? (
                  <span className="pl-1 text-xs font-normal text-muted">{share(seconds / all)}</span>
                ) : null}
              </dd>
            </div>
          );
        })}
      </dl>
    </Card>
  );
}

function share(part: number): string {
  return part > 0 && part < 0.01 ? "< 1 %" : `${Math.round(part * 100)} %`;
}
