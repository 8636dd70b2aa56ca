/** Runs by hour or day, as charts draw them. */

import type { components } from "@/api/schema";

export type Span = components["schemas"]["SpanView"];

export const DAYS = [1, 7, 14, 30, 90] as const;

export type Filled = {
  x: number[]; // the begin of each hour or day, in seconds since 1970
  states: Record<string, number[]>;
  median: Array<number | null>;
  slow: Array<number | null>;
};

const DRAWN = ["completed", "failed", "cancelled", "running", "queued"];

/** Every hour or day of the time that is looked at: those without runs too. */
export function fill(spans: Span[], spanS: number, days: number, now: number): Filled {
  const count = Math.max(1, Math.round((days * 86_400) / spanS));
  const known = new Map(spans.map((each) => [Math.round(Date.parse(each.at) / 1000), each]));
  // The server's spans tell where one begins where we are; without any, it is the local midnight or hour.
  const some = spans[0] ? Math.round(Date.parse(spans[0].at) / 1000) : beginOf(now, spanS);
  const last = some + Math.floor((now / 1000 - some) / spanS) * spanS;
  const x = Array.from({ length: count }, (_, at) => last - (count - 1 - at) * spanS);
  return {
    x,
    states: Object.fromEntries(
      DRAWN.map((state) => [state, x.map((at) => known.get(at)?.states[state] ?? 0)]),
    ),
    median: x.map((at) => known.get(at)?.median_s ?? null),
    slow: x.map((at) => known.get(at)?.slow_s ?? null),
  };
}

function beginOf(now: number, spanS: number): number {
  const shift = shiftS(now);
  return Math.floor((now / 1000 + shift) / spanS) * spanS - shift;
}

/** How far local time is before UTC, in seconds. */
export function shiftS(now: number): number {
  return -new Date(now).getTimezoneOffset() * 60;
}

/** The local midnight before today's: what failed since then is told. */
export function yesterday(now: number): string {
  const at = new Date(now);
  at.setHours(0, 0, 0, 0);
  at.setDate(at.getDate() - 1);
  return at.toISOString();
}

/** What came of all of them, and the share that completed of those that did or failed. */
export function totals(spans: Span[]): { runs: number; success: number | null; failed: number } {
  let [runs, completed, failed] = [0, 0, 0];
  for (const { states } of spans) {
    for (const count of Object.values(states)) runs += count;
    completed += states.completed ?? 0;
    failed += states.failed ?? 0;
  }
  return { runs, failed, success: completed + failed ? completed / (completed + failed) : null };
}

/** `97 %`; never `100 %` where something failed. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return "–";
  const whole = Math.round(share * 100);
  return whole === 100 && share < 1 ? "> 99 %" : `${whole} %`;
}

export function readDays(value: unknown, usual: number): number {
  const days = Number(value);
  return (DAYS as readonly number[]).includes(days) ? days : usual;
}
