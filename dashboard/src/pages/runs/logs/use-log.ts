import { useCallback, useEffect, useRef, useState } from "react";
import { request } from "@/api/client";
import { ApiError } from "@/api/errors";
import type { Line } from "./lines";
import LogWorker from "./log.worker?worker";
import type { Ask, Tell } from "./messages";

export type LogState = { lines: number; bytes: number; total: number; whole: boolean; cut: boolean };
export type Matches = {
  text: string;
  found: Uint32Array; // line numbers; room for more is at its end
  count: number;
  looked: number; // lines searched so far
  done: boolean;
  error: string;
};

const BLOCK = 200; // lines that are asked for at once
const KEPT = 60; // blocks
const NOTHING: LogState = { lines: 0, bytes: 0, total: 0, whole: false, cut: false };

/** A log that a worker holds: how long it is, lines of it as they are needed, and what was found in it. */
export function useLog(url: string, live: boolean) {
  const worker = useRef<Worker | null>(null);
  const blocks = useRef(new Map<number, { lines: Line[]; asked: boolean; stale: boolean }>());
  const [state, setState] = useState(NOTHING);
  const [error, setError] = useState<ApiError | null>(null);
  const [matches, setMatches] = useState<Matches | null>(null);
  const [, setDrawn] = useState(0);
  const searching = useRef({ id: 0, text: "" });
  const liveNow = useRef(live);
  const [opened, setOpened] = useState(0);

  const ask = useCallback((asked: Ask) => worker.current?.postMessage(asked), []);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `opened` opens it again
  useEffect(() => {
    const made = new LogWorker();
    worker.current = made;
    blocks.current.clear();
    setState(NOTHING);
    setError(null);
    made.onmessage = ({ data: told }: MessageEvent<Tell>) => {
      if (told.kind === "state") {
        // The block that ended in the middle has more lines now; so has what ended in a line that was not whole.
        for (const each of blocks.current.values()) if (each.lines.length < BLOCK) each.stale = true;
        setError(null);
        setState(told);
      } else if (told.kind === "lines") {
        blocks.current.set(told.from / BLOCK, { lines: told.lines, asked: false, stale: false });
        while (blocks.current.size > KEPT) {
          const oldest = blocks.current.keys().next().value;
          if (oldest === undefined) break;
          blocks.current.delete(oldest);
        }
        setDrawn((drawn) => drawn + 1);
      } else if (told.kind === "matches") {
        if (told.id === searching.current.id)
          setMatches((before) => merged(before, told, searching.current.text));
      } else {
        setError(new ApiError(told.status, "LogFailed", told.summary, told.why, told.mend));
        if (told.status === 401) {
          // The frame asks for the login; a request through it waits until there is one.
          void request("/api/v1/me").then(() => made.postMessage({ kind: "again" } satisfies Ask));
        }
      }
    };
    made.postMessage({ kind: "open", url, live: liveNow.current } satisfies Ask);
    if (searching.current.text) made.postMessage({ kind: "search", ...searching.current } satisfies Ask);
    return () => made.terminate();
  }, [url, opened]);

  useEffect(() => {
    liveNow.current = live;
    ask({ kind: "live", live });
  }, [live, ask]);

  /** A line if it is here; if not it is fetched, and the page is drawn again. */
  const line = useCallback(
    (at: number): Line | undefined => {
      const number = Math.floor(at / BLOCK);
      const block = blocks.current.get(number);
      if (!block?.asked && (!block || block.stale)) {
        blocks.current.set(number, { lines: block?.lines ?? [], asked: true, stale: false });
        ask({ kind: "lines", from: number * BLOCK, to: (number + 1) * BLOCK, id: 0 });
      }
      return block?.lines[at % BLOCK];
    },
    [ask],
  );

  const search = useCallback(
    (text: string) => {
      searching.current = { id: searching.current.id + 1, text };
      setMatches(
        text ? { text, found: new Uint32Array(1024), count: 0, looked: 0, done: false, error: "" } : null,
      );
      ask({ kind: "search", ...searching.current });
    },
    [ask],
  );

  const retry = useCallback(() => setOpened((opened) => opened + 1), []);
  return { state, error, matches, line, search, retry };
}

function merged(before: Matches | null, told: Extract<Tell, { kind: "matches" }>, text: string): Matches {
  let found = before?.found ?? new Uint32Array(1024);
  const count = before?.count ?? 0;
  if (count + told.found.length > found.length) {
    const larger = new Uint32Array(Math.max(found.length * 2, count + told.found.length));
    larger.set(found);
    found = larger;
  }
  found.set(told.found, count);
  return {
    text,
    found,
    count: count + told.found.length,
    looked: told.looked,
    done: told.done,
    error: told.error,
  };
}
