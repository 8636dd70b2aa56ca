import type { Run, RunNode } from "./model";

/** What a step spends time on, in the order in which it does. */
export const PHASES = ["queued", "environment", "starting", "loading", "running", "saving"] as const;
export type Phase = (typeof PHASES)[number];

export const ABOUT: Record<Phase, string> = {
  queued: "ready, and waiting for room on the machine",
  environment: "its environment is locked, made or pulled",
  starting: "a worker or container comes up, and its files come in",
  loading: "inputs are read",
  running: "the step's function",
  saving: "outputs are written, and sent",
};

export type Part = { phase: Phase; start: number; end: number }; // seconds since the run's begin
export type Bar = { id: string; state: string; parts: Part[]; start: number; end: number };

export type Timeline = {
  begin: number; // ms since 1970
  length: number; // seconds
  bars: Bar[]; // in the order in which the steps began
  totals: Array<[Phase, number]>; // seconds, of all steps
  waiting: number; // steps that have not begun, or never did
};

/** Where the time of a run went. `now` in ms since 1970: until then what runs has run. */
export function timeline(run: Run, nodes: readonly RunNode[], now: number): Timeline {
  const begun = nodes.map(withBegin).filter((each) => each.last?.started_at && each.state !== "skipped");
  const times = begun.map((each) => Date.parse(each.last?.started_at as string) - ahead(each) * 1000);
  const begin = Math.min(run.started_at ? Date.parse(run.started_at) : now, ...withoutSpread(times));
  const bars = begun.map((each) => bar(each, begin, now)).sort((a, b) => a.start - b.start || a.end - b.end);
  const last = run.finished_at ? Date.parse(run.finished_at) : Math.max(now, begin);
  const length = Math.max(
    (last - begin) / 1000,
    bars.reduce((most, each) => Math.max(most, each.end), 0),
    0.001,
  );
  const totals = new Map<Phase, number>();
  for (const each of bars)
    for (const part of each.parts)
      totals.set(part.phase, (totals.get(part.phase) ?? 0) + part.end - part.start);
  return {
    begin,
    length,
    bars,
    totals: PHASES.filter((phase) => (totals.get(phase) ?? 0) > 0).map((phase) => [
      phase,
      totals.get(phase) ?? 0,
    ]),
    waiting: nodes.length - bars.length,
  };
}

/** A mapped step is recorded when it ends; until then it has run since its first item began. */
function withBegin(node: RunNode): RunNode {
  if (node.last || !node.items?.began) return node;
  const { id, state } = node;
  return { ...node, last: { id, revision: 0, fence: 1, attempt: 1, state, started_at: node.items.began } };
}

/** The smallest alone: a call with ten thousand arguments is too much for a browser. */
function withoutSpread(times: number[]): number[] {
  return times.length ? [times.reduce((least, each) => Math.min(least, each))] : [];
}

/** Seconds that a step waited before its attempt began; of a second attempt they hold the first one, and say nothing. */
function ahead(node: RunNode): number {
  return (node.last?.attempt ?? 1) > 1 ? 0 : (node.last?.seconds?.queued ?? 0);
}

function bar(node: RunNode, begin: number, now: number): Bar {
  const last = node.last as NonNullable<RunNode["last"]>;
  const seconds = last.seconds ?? {};
  const begun = (Date.parse(last.started_at as string) - begin) / 1000;
  const end = Math.max(begun, ((last.finished_at ? Date.parse(last.finished_at) : now) - begin) / 1000);
  const queued = ahead(node);
  const measured = {
    environment: seconds.environment ?? 0,
    loading: (seconds.fetching ?? 0) + (seconds.loading ?? 0),
    running: seconds.running ?? 0,
    saving: (seconds.saving ?? 0) + (seconds.uploading ?? 0),
  };
  const parts: Part[] = [];
  let at = begun - queued;
  const add = (phase: Phase, length: number) => {
    const stop = Math.min(at + length, Math.max(end, at));
    if (stop > at) parts.push({ phase, start: at, end: stop });
    at = stop;
  };
  if (queued > 0) parts.push({ phase: "queued", start: at, end: begun });
  at = begun;
  const isMeasured = ["environment", "loading", "running", "saving"].some((name) => name in seconds);
  if (!isMeasured) add("running", end - begun);
  else {
    const told = measured.environment + measured.loading + measured.running + measured.saving;
    // What is left is the worker's coming up, and its going.
    const rest = Math.max(0, end - begun - told);
    add("environment", measured.environment);
    add("starting", rest);
    add("loading", measured.loading);
    add("running", measured.running);
    add("saving", measured.saving);
  }
  return { id: node.id, state: node.state, parts, start: begun - queued, end };
}

const STEPS = [
  0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
];
const HOURS = [3600, 7200, 10800, 21600, 43200, 86400];

/** Where to write the time: at round seconds, `most` times at most. */
export function ticks(length: number, most: number): number[] {
  const wanted = length / Math.max(1, most);
  let step = [...STEPS, ...HOURS].find((each) => each >= wanted);
  if (step === undefined) step = Math.ceil(wanted / 86400) * 86400;
  const found: number[] = [];
  for (let at = 0; at * step <= length * 1.000001; at += 1) found.push(at * step);
  return found;
}
