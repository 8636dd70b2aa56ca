/** Fetches a log, knows where its lines are, and searches it: the page does none of it. */

import { Matcher, plain } from "./ansi";
import { Lines, parseLine } from "./lines";
import type { Ask, Tell } from "./messages";

const MOST = 400_000_000; // bytes held; what is beyond is for the download
const POLL_MS = 1000;
const SLOWEST_MS = 10_000;
const AT_ONCE = 5000; // lines searched before others get their turn
const MOST_FOUND = 1_000_000;

const tell = (told: Tell, transfer: Transferable[] = []) => self.postMessage(told, { transfer });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const lines = new Lines();
let url = "";
let live = false;
let total = 0; // bytes that the server has
let whole = false; // nothing comes any more
let cut = false;
let resume: (() => void) | null = null;
let search = { id: 0, matcher: new Matcher(""), at: 0 };

self.onmessage = ({ data: asked }: MessageEvent<Ask>) => {
  if (asked.kind === "open") {
    url = asked.url;
    live = asked.live;
    void follow();
  } else if (asked.kind === "live") {
    live = asked.live;
  } else if (asked.kind === "again") {
    resume?.();
  } else if (asked.kind === "lines") {
    const found = lines.raw(asked.from, Math.min(asked.to, lines.count(whole))).map(parseLine);
    tell({ kind: "lines", from: asked.from, lines: found, id: asked.id });
  } else {
    search = { id: asked.id, matcher: new Matcher(asked.text), at: 0 };
    if (asked.text) void look(asked.id);
  }
};

function state() {
  tell({ kind: "state", lines: lines.count(whole), bytes: lines.size, total, whole, cut });
}

/** Fetch what there is, then what comes, until the run has ended. */
async function follow() {
  let wait = POLL_MS;
  for (;;) {
    const last = !live; // asked before: what is written until then is fetched once more
    try {
      const grown = await fetchOn();
      if (cut || (last && !grown)) break;
      wait = grown ? POLL_MS : Math.min(wait * 1.2, 3000);
      if (!last) await pause(wait);
    } catch (error) {
      const failed = error as Failed;
      // A log that is not there yet may come.
      if (failed.status === 404 && live) {
        await pause(POLL_MS);
        continue;
      }
      if (failed.status === 404 && lines.size === 0) {
        const { summary = "there is no such log", why = "", mend = "" } = failed;
        tell({ kind: "failed", status: 404, summary, why, mend });
        return;
      }
      tell({
        kind: "failed",
        status: failed.status ?? 0,
        summary: failed.summary ?? "the server does not answer",
        why: failed.why ?? "it is stopped, or the network is down",
        mend: failed.mend ?? "this page goes on by itself when the server is back",
      });
      // By itself where the server was away; else when the page says so.
      await Promise.race([
        new Promise<void>((resolve) => {
          resume = resolve;
        }),
        ...(!failed.status || failed.status >= 500 ? [pause(wait)] : []),
      ]);
      wait = Math.min(wait * 2, SLOWEST_MS);
    }
  }
  whole = true;
  state();
  goOn();
}

type Failed = { status?: number; type?: string; summary?: string; why?: string; mend?: string };

/** Fetch from where we are to the end of what there is. False: there was nothing new. */
async function fetchOn(): Promise<boolean> {
  const response = await fetch(url, {
    headers: { Range: `bytes=${lines.size}-` },
    credentials: "same-origin",
  });
  if (response.status === 416) return false;
  if (!response.ok || !response.body) {
    const told = await response.json().catch(() => ({}));
    throw { status: response.status, ...told.error } satisfies Failed;
  }
  const size = /\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1];
  total = size ? Number(size) : Number(response.headers.get("Content-Length") ?? 0);
  let skip = response.status === 200 ? lines.size : 0; // who knows no ranges sends all again
  const reader = response.body.getReader();
  let told = 0;
  let grown = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const part = skip ? value.subarray(Math.min(skip, value.length)) : value;
    skip = Math.max(0, skip - value.length);
    if (!part.length) continue;
    lines.append(part);
    grown = true;
    if (lines.size > MOST) {
      cut = true;
      void reader.cancel();
      break;
    }
    // Ten times a second: the page draws, the worker reads.
    if (performance.now() - told > 100) {
      told = performance.now();
      state();
    }
  }
  total = Math.max(total, lines.size);
  if (grown) {
    state();
    goOn();
  }
  return grown;
}

/** Search what has come since a search was at its end. */
function goOn() {
  if (search.at > 0 && !looking) void look(search.id);
}

let looking = false;

async function look(id: number) {
  looking = true;
  let since = performance.now();
  let found: number[] = [];
  let count = 0;
  const report = (done: boolean) => {
    const told = Uint32Array.from(found);
    found = [];
    since = performance.now();
    const { error } = search.matcher;
    tell({ kind: "matches", id, found: told, count, looked: search.at, done, error }, [told.buffer]);
  };
  while (search.id === id && search.at < lines.count(whole)) {
    const to = Math.min(search.at + AT_ONCE, lines.count(whole));
    lines.raw(search.at, to).forEach((line, offset) => {
      if (count < MOST_FOUND && search.matcher.holds(plain(parseLine(line).text))) {
        found.push(search.at + offset);
        count += 1;
      }
    });
    search.at = to;
    if (performance.now() - since > 100) report(false);
    await pause(0);
  }
  looking = false;
  if (search.id === id) report(true);
  else goOn();
}
