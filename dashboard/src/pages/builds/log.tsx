import { useVirtualizer } from "@tanstack/react-virtual";
import clsx from "clsx";
import { useEffect, useRef, useState } from "react";
import { Card } from "@/ui/card";
import { Input } from "@/ui/input";
import { Badge } from "@/ui/state";
import { LIVE_MS, logPart } from "./queries";
import { type LogLine, lines } from "./telling";

const ROW = 22; // px
const NEAR = 40; // px from the end: whoever is there follows

/** What is told while an image is made, as it comes. */
export function BuildLog({
  project,
  id,
  live,
  path,
}: {
  project: string;
  id: string;
  live: boolean;
  path: string;
}) {
  const { told, here, failed } = useLog(project, id, live);
  const [text, setText] = useState("");
  const wanted = text.trim().toLowerCase();
  const shown = wanted ? told.filter((each) => each.text.toLowerCase().includes(wanted)) : told;
  const scroller = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const virtual = useVirtualizer({
    count: shown.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 30,
  });
  useEffect(() => {
    if (follows.current && shown.length > 0) virtual.scrollToIndex(shown.length - 1);
  }, [shown.length, virtual]);
  return (
    <Card
      flush
      title={<span className="flex items-center gap-2">Log {live && <Badge tone="busy">live</Badge>}</span>}
      actions={
        <Input
          type="search"
          aria-label="search the log"
          placeholder="Search the log"
          className="w-44!"
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      }
    >
      {failed && told.length === 0 ? (
        <p className="p-4 text-sm text-muted">The log cannot be read now; it is asked for again.</p>
      ) : here === false ? (
        <p className="p-4 text-sm text-muted">
          {live
            ? "Nothing has been told of it yet."
            : path
              ? `This server has no log of it; it is in ${path}, below the home folder of the machine that made it.`
              : "Nothing was told of it."}
        </p>
      ) : (
        <div
          ref={scroller}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
          tabIndex={0}
          role="log"
          aria-label="build log"
          onScroll={(event) => {
            const box = event.currentTarget;
            follows.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
          }}
          className="max-h-96 min-h-24 overflow-auto rounded-b-lg bg-sunken py-2 font-mono text-[12.5px]"
        >
          <div className="relative" style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => {
              const line = shown[item.index];
              if (!line) return null;
              return (
                <div
                  key={item.key}
                  className="absolute flex w-full gap-3 px-4 whitespace-pre"
                  style={{ height: ROW, transform: `translateY(${item.start}px)` }}
                >
                  <span className="shrink-0 text-muted select-none" title={line.time}>
                    {clock(line.time)}
                  </span>
                  <span className={clsx(line.stream === "stderr" && "text-bad")}>{line.text}</span>
                </div>
              );
            })}
          </div>
        </div>
      )}
    </Card>
  );
}

/** The lines that have come, and more as long as it is live. */
function useLog(
  project: string,
  id: string,
  live: boolean,
): { told: LogLine[]; here: boolean | null; failed: boolean } {
  const [told, setTold] = useState<LogLine[]>([]);
  const [here, setHere] = useState<boolean | null>(null);
  const [failed, setFailed] = useState(false);
  const at = useRef({ key: "", offset: 0 });
  useEffect(() => {
    const key = `${project}/${id}`;
    if (at.current.key !== key) {
      at.current = { key, offset: 0 };
      setTold([]);
      setHere(null);
    }
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      let wait = LIVE_MS;
      let over = !live;
      try {
        const part = await logPart(project, id, at.current.offset, stop.signal);
        setHere(part.here);
        setFailed(false);
        if (part.next > at.current.offset) {
          at.current.offset = part.next;
          setTold((before) => before.concat(lines(part.text)));
          if (part.next < part.size) {
            wait = 0; // there is more already
            over = false;
          }
        }
      } catch {
        if (stop.signal.aborted) return;
        setFailed(true);
        over = false;
      }
      if (!over) timer = setTimeout(() => void ask(), wait);
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [project, id, live]);
  return { told, here, failed };
}

/** A moment as the reader's clock has it: `11:21:27`. */
function clock(time: string): string {
  const at = new Date(time);
  return Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString("en-GB");
}
