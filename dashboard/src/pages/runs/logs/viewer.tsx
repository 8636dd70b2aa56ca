import { useQuery } from "@tanstack/react-query";
import { useLocation, useNavigate } from "@tanstack/react-router";
import clsx from "clsx";
import { ArrowDownToLine, ChevronDown, ChevronUp, Clock, Download, WrapText } from "lucide-react";
import {
  memo,
  type ReactNode,
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { api, data } from "@/api/client";
import { buttonClass, IconButton } from "@/ui/button";
import { bytes, count, exact, plural } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Empty, ErrorView } from "@/ui/said";
import { Matcher, marked, spans } from "./ansi";
import type { Line } from "./lines";
import "./log.css";
import { isScaled, lineOf, nextMatch, ROW, scrollTo, tall, topLine } from "./place";
import { useLog } from "./use-log";

const OVER = 8; // lines drawn above and below what is in sight

/**
 * What an attempt printed, however much: only the lines in sight are drawn, and a worker fetches and searches.
 *
 * `#L120` in the address leads to a line.
 */
export function LogViewer({
  project,
  run,
  log,
  live,
  height = "min(70vh, 60rem)",
}: {
  project: string;
  run: string; // id
  log: string; // `train.1.log`
  live?: boolean; // more may come; by itself it looks at the run
  height?: string;
}) {
  const url = `/api/v1/projects/${encodeURIComponent(project)}/runs/${encodeURIComponent(run)}/logs/${encodeURIComponent(log)}`;
  const known = useQuery({
    queryKey: ["log-run", project, run],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/runs/{id}", { params: { path: { project, id: run } } })),
    enabled: live === undefined,
    refetchInterval: ({ state }) => (isOver(state.data?.state) ? false : 3000),
  });
  const goesOn = live ?? (known.data ? !isOver(known.data.state) : true);
  const { state, error, matches, line, search, retry } = useLog(url, goesOn);
  const [wrap, setWrap] = useKept("tilth.log.wrap", false);
  const [times, setTimes] = useKept("tilth.log.times", true);
  const [follow, setFollow] = useState(true);
  const [wanted, setWanted] = useState("");
  const [at, setAt] = useState(-1); // which match is shown
  const matcher = useMemo(() => (wanted ? new Matcher(wanted) : null), [wanted]);

  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState(600);
  const [top, setTop] = useState(0);
  const bottomed = useRef(true); // the end is in sight
  const hash = useLocation({ select: (here) => here.hash });
  const navigate = useNavigate();
  const linked = lineOf(hash);
  const lines = state.lines;
  const isFollowing = follow && goesOn && !state.whole;

  useLayoutEffect(() => {
    const on = scroller.current;
    if (!on) return;
    const watch = new ResizeObserver(() => setView(on.clientHeight));
    watch.observe(on);
    return () => watch.disconnect();
  }, []);

  const read = useCallback(() => {
    const on = scroller.current;
    if (!on) return;
    bottomed.current = on.scrollTop >= on.scrollHeight - on.clientHeight - 2;
    setTop(topLine(on.scrollTop, lines, on.clientHeight));
  }, [lines]);

  const go = useCallback(
    (to: number) => {
      const on = scroller.current;
      if (!on) return;
      setFollow(false);
      on.scrollTop = scrollTo(to - on.clientHeight / ROW / 3, lines, on.clientHeight);
      read();
    },
    [lines, read],
  );

  // What comes keeps the end in sight, or the line at the top where it is.
  const topNow = useRef(0);
  topNow.current = top;
  useLayoutEffect(() => {
    const on = scroller.current;
    if (!on) return;
    if (isFollowing) on.scrollTop = on.scrollHeight;
    else if (isScaled(lines)) on.scrollTop = scrollTo(topNow.current, lines, on.clientHeight);
    bottomed.current = on.scrollTop >= on.scrollHeight - on.clientHeight - 2;
    setTop(topLine(on.scrollTop, lines, on.clientHeight));
  }, [lines, isFollowing]);

  // The line that the address names, once it is there.
  const shown = useRef(-1);
  useEffect(() => {
    if (linked >= 0 && linked < lines && shown.current !== linked) {
      shown.current = linked;
      go(linked);
    }
  }, [linked, lines, go]);

  // A list taller than browsers draw scrolls by the pixel all the same.
  useEffect(() => {
    const on = scroller.current;
    if (!on || !isScaled(lines)) return;
    const turn = (event: WheelEvent) => {
      if (event.ctrlKey || !event.deltaY) return;
      event.preventDefault();
      if (event.deltaY < 0) setFollow(false);
      const by =
        event.deltaMode === 1
          ? event.deltaY
          : event.deltaMode === 2
            ? event.deltaY * (view / ROW)
            : event.deltaY / ROW;
      on.scrollTop = scrollTo(topLine(on.scrollTop, lines, on.clientHeight) + by, lines, on.clientHeight);
      on.scrollLeft += event.deltaX;
    };
    on.addEventListener("wheel", turn, { passive: false });
    return () => on.removeEventListener("wheel", turn);
  }, [lines, view]);

  const find = useCallback(
    (text: string) => {
      setWanted(text);
      setAt(-1);
      search(text);
    },
    [search],
  );
  const turn = (back: boolean) => {
    if (!matches?.count) return;
    const from = at >= 0 ? (matches.found[at] as number) : Math.floor(top) - (back ? 0 : 1);
    const next = nextMatch(matches.found, matches.count, from, back);
    setAt(next);
    go(matches.found[next] as number);
  };
  // The first that is found from here on is shown.
  const found = matches?.count ?? 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when there is a first
  useEffect(() => {
    if (found > 0 && at === -1) turn(false);
  }, [found > 0, wanted]);

  const here = at >= 0 && matches ? matches.found[at] : -1;
  const atEnd = bottomed.current && lines * ROW > view;
  const first = Math.max(
    0,
    atEnd ? lines - Math.ceil(view / ROW) - OVER : Math.floor(top) - (wrap ? 0 : OVER),
  );
  const last = Math.min(lines, Math.ceil(top + view / ROW) + OVER);
  const digits = String(Math.max(lines, 1)).length;
  const slots = Math.ceil(view / ROW) + 3 * OVER;
  const rows: ReactNode[] = [];
  for (let number = first; number < last; number += 1) {
    rows.push(
      <Row
        key={number % slots} // of a row that scrolled out, another takes the place: making one costs more
        number={number}
        line={line(number)}
        digits={digits}
        times={times}
        wrap={wrap}
        look={number === here ? "found" : number === linked ? "linked" : ""}
        matcher={matcher}
        onLink={(to) => {
          shown.current = to;
          void navigate({ to: ".", search: true, hash: `L${to + 1}`, replace: true, resetScroll: false });
        }}
      />,
    );
  }
  // The line at the top is cut by as much as was scrolled into it.
  const shift = atEnd ? undefined : -(top - first) * ROW;

  return (
    <section
      aria-label={`log ${log}`}
      className="min-w-0 rounded-lg border border-line bg-surface shadow-card"
    >
      <div className="flex flex-wrap items-center gap-1 border-b border-line px-2 py-1.5">
        {/* biome-ignore lint/a11y/noStaticElementInteractions: keys of the field in it */}
        <div
          className="flex w-full items-center gap-1 sm:w-80"
          onKeyDown={(event) => {
            if (event.key === "Enter") turn(event.shiftKey);
          }}
        >
          <SearchField value={wanted} onChange={find} label="Search, or /expression/" className="grow" />
          <IconButton label="previous match" onClick={() => turn(true)} disabled={!found}>
            <ChevronUp />
          </IconButton>
          <IconButton label="next match" onClick={() => turn(false)} disabled={!found}>
            <ChevronDown />
          </IconButton>
        </div>
        <span role="status" className="min-w-0 grow truncate px-1 text-xs text-muted tabular-nums">
          {wanted && matches
            ? matches.error ||
              `${at >= 0 ? `${count(at + 1)} of ` : ""}${plural(found, "line")}${matches.done ? "" : ` · ${count(matches.looked)} searched …`}`
            : loaded(state, goesOn)}
        </span>
        {goesOn && !state.whole && (
          <button
            type="button"
            aria-pressed={isFollowing}
            onClick={() => setFollow(!isFollowing)}
            className={buttonClass(isFollowing ? "primary" : "plain", true)}
          >
            <ArrowDownToLine /> Follow
          </button>
        )}
        <Toggle label="wrap long lines" on={wrap} onChange={setWrap}>
          <WrapText />
        </Toggle>
        <Toggle label="show times" on={times} onChange={setTimes}>
          <Clock />
        </Toggle>
        <a href={url} download={log} className={buttonClass("quiet", true)} title="download the whole log">
          <Download /> Download
        </a>
      </div>
      {error && (
        <div className="p-2">
          <ErrorView error={error} retry={retry} />
        </div>
      )}
      {lines === 0 && state.whole ? (
        <Empty title="This attempt printed nothing" />
      ) : (
        // biome-ignore lint/a11y/noStaticElementInteractions: keys and wheel that scroll it end the following
        <div
          ref={scroller}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          tabIndex={0}
          data-log
          className="relative overflow-auto rounded-b-lg bg-sunken font-mono text-[12.5px] leading-5"
          style={{ height: `min(${height}, ${Math.max(lines, 3) * ROW + 24}px)`, overflowAnchor: "none" }}
          onScroll={read}
          onWheel={(event) => event.deltaY < 0 && setFollow(false)}
          onKeyDown={(event) => {
            if (["ArrowUp", "PageUp", "Home"].includes(event.key)) setFollow(false);
          }}
        >
          <div style={{ height: tall(lines, 0), minWidth: "100%", width: wrap ? "100%" : "max-content" }}>
            <div
              className="sticky top-0"
              style={{
                height: Math.min(view, tall(lines, 0)),
                minWidth: "100%",
                contain: wrap ? "strict" : "style",
              }}
            >
              <div
                className={clsx("absolute min-w-full", wrap && "w-full", atEnd && "bottom-0")}
                style={shift === undefined ? undefined : { transform: `translateY(${shift}px)` }}
              >
                {rows}
              </div>
            </div>
          </div>
        </div>
      )}
      {state.cut && (
        <p className="border-t border-line p-2 text-xs text-wait">
          This log is longer than a browser can hold: {bytes(state.total)}. What is above are its first{" "}
          {bytes(state.bytes)}; download it for the rest.
        </p>
      )}
    </section>
  );
}

const Row = memo(
  function Row({
    number,
    line,
    digits,
    times,
    wrap,
    look,
    matcher,
    onLink,
  }: {
    number: number;
    line: Line | undefined;
    digits: number;
    times: boolean;
    wrap: boolean;
    look: "found" | "linked" | "";
    matcher: Matcher | null;
    onLink: (line: number) => void;
  }) {
    const pieces = useMemo(() => (line ? spans(line.text) : []), [line]);
    const drawn = matcher ? marked(pieces, matcher) : pieces;
    return (
      <div
        data-line={number + 1}
        data-stream={line ? (line.error ? "stderr" : "stdout") : undefined}
        className={clsx(
          "flex gap-3 border-l-2 pr-3",
          line?.error ? "border-bad" : "border-transparent",
          look === "found"
            ? "bg-wait-soft"
            : look === "linked"
              ? "bg-accent-soft"
              : line?.error && "bg-bad-soft/40",
        )}
        style={{ minHeight: ROW }}
      >
        <a
          href={`#L${number + 1}`}
          tabIndex={-1}
          aria-label={`link to line ${number + 1}`}
          className="sticky left-0 shrink-0 bg-sunken pr-2 pl-2 text-right text-muted select-none hover:text-ink"
          style={{ minWidth: `${digits + 3}ch` }}
          onClick={(event) => {
            event.preventDefault();
            onLink(number);
          }}
        >
          {number + 1}
        </a>
        {times && (
          <time
            dateTime={line?.time}
            title={line?.time ? exact(line.time) : ""}
            className="w-[12ch] shrink-0 text-muted select-none"
          >
            {line?.time ? clock(line.time) : ""}
          </time>
        )}
        {line?.error && <span className="sr-only">stderr</span>}
        <span className={wrap ? "min-w-0 break-all whitespace-pre-wrap" : "whitespace-pre"}>
          {line ? (
            drawn.map((each, at) => {
              const style =
                each.colour || each.background
                  ? { color: each.colour, background: each.background }
                  : undefined;
              const key = `${at}`;
              if ("mark" in each && each.mark)
                return (
                  <mark key={key} className={clsx(each.className, "rounded-xs bg-wait text-surface")}>
                    {each.text}
                  </mark>
                );
              if (!style && !each.className) return each.text;
              return (
                <span key={key} className={each.className} style={style}>
                  {each.text}
                </span>
              );
            })
          ) : (
            <span className="text-muted">…</span>
          )}
        </span>
      </div>
    );
  },
  (before, after) =>
    before.number === after.number &&
    before.line === after.line &&
    before.digits === after.digits &&
    before.times === after.times &&
    before.wrap === after.wrap &&
    before.look === after.look &&
    before.matcher === after.matcher,
);

function Toggle({
  label,
  on,
  onChange,
  children,
}: {
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
  children: ReactNode;
}) {
  return (
    <IconButton
      label={label}
      aria-pressed={on}
      onClick={() => onChange(!on)}
      className={on ? "bg-accent-soft text-accent" : ""}
    >
      {children}
    </IconButton>
  );
}

function loaded(
  state: { lines: number; bytes: number; total: number; whole: boolean },
  live: boolean,
): string {
  const said = `${plural(state.lines, "line")}, ${bytes(state.bytes)}`;
  if (state.total > state.bytes && !state.whole) return `${said} of ${bytes(state.total)} …`;
  return live && !state.whole ? `${said}, live` : said;
}

function isOver(state: string | undefined): boolean {
  return state !== undefined && state !== "running" && state !== "queued";
}

/** The time of day, in the reader's zone, to the millisecond. */
function clock(moment: string): string {
  const at = new Date(moment);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

/** Something on or off, remembered in this browser. */
function useKept(key: string, usual: boolean): [boolean, (on: boolean) => void] {
  const [on, setOn] = useState(() => {
    try {
      return localStorage.getItem(key) === null ? usual : localStorage.getItem(key) === "1";
    } catch {
      return usual;
    }
  });
  const keep = useCallback(
    (next: boolean) => {
      setOn(next);
      try {
        localStorage.setItem(key, next ? "1" : "0");
      } catch {
        // It lasts until the page is closed.
      }
    },
    [key],
  );
  return [on, keep];
}
