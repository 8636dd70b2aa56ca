import { isFinal, type Run, type RunAttempt, type RunGraph, type RunNode, type StepRun } from "./model";

/** What a server tells of a run as it happens. */
export type LiveEvent =
  | { event: "run"; data: Run }
  | { event: "step_run"; data: StepRun }
  | { event: "items"; data: { step: string; counts: Record<string, number>; began?: string | null } };

const LONGEST = 300; // characters of a failure's message in a graph, as the server has it

/**
 * The graph of a run after some events.
 *
 * Everything is told again after each new connection, the old before the new: what is known already, or is older than
 * that, changes nothing.
 */
export function reduce(graph: RunGraph, events: readonly LiveEvent[]): RunGraph {
  let run = graph.run;
  const changed = new Map<string, RunNode>();
  const at = new Map(graph.nodes.map((each, place) => [each.id, place]));
  const nodeOf = (id: string): RunNode => {
    const place = at.get(id);
    return (
      changed.get(id) ?? (place === undefined ? { id, state: "queued" } : (graph.nodes[place] as RunNode))
    );
  };
  for (const each of events) {
    if (each.event === "run") {
      if (each.data.id === run.id && each.data.revision > run.revision) run = each.data;
    } else if (each.event === "items") {
      const node = nodeOf(each.data.step);
      const total = node.items?.total ?? null;
      const known = node.items?.counts ?? {};
      if (sameCounts(known, each.data.counts)) continue;
      const begun = node.last ? node.state : "running";
      changed.set(node.id, {
        ...node,
        state: begun,
        items: { total, counts: each.data.counts, began: each.data.began },
      });
    } else if (each.data.index === null || each.data.index === undefined) {
      const next = withAttempt(nodeOf(each.data.step), each.data);
      if (next) changed.set(next.id, next);
    }
  }
  if (run === graph.run && changed.size === 0) return graph;
  const nodes = changed.size
    ? [
        ...graph.nodes.map((each) => changed.get(each.id) ?? each),
        ...[...changed.values()].filter((each) => !at.has(each.id)),
      ]
    : graph.nodes;
  // Somebody who records what happens is there; whether still, the next question to the server tells.
  const driven = isFinal(run.state) ? false : graph.driven || changed.size > 0;
  return { ...graph, run, nodes, driven };
}

function withAttempt(node: RunNode, told: StepRun): RunNode | null {
  const last = node.last;
  const attempt = attemptOf(told);
  if (last && last.id === attempt.id) {
    return attempt.revision > last.revision ? { ...node, state: attempt.state, last: attempt } : null;
  }
  const isLater =
    !last || attempt.fence > last.fence || (attempt.fence === last.fence && attempt.attempt > last.attempt);
  if (!isLater) return null;
  return { ...node, state: attempt.state, last: attempt, attempts: (node.attempts ?? 0) + 1 };
}

function attemptOf(told: StepRun): RunAttempt {
  const failure = told.failure;
  const message = failure?.message ?? "";
  return {
    id: told.id,
    revision: told.revision,
    fence: told.fence ?? 1,
    attempt: told.attempt ?? 1,
    state: told.state ?? "queued",
    cache_reason: told.cache_reason,
    reused_from: told.reused_from,
    environment: told.environment,
    started_at: told.started_at,
    finished_at: told.finished_at,
    seconds: told.seconds,
    peak_memory: told.peak_memory,
    log_bytes: told.log_bytes,
    failure: failure
      ? {
          reason: failure.reason,
          type: failure.type,
          message: message.length > LONGEST ? `${message.slice(0, LONGEST)}…` : message,
        }
      : null,
  };
}

function sameCounts(one: Record<string, number>, other: Record<string, number>): boolean {
  const names = Object.keys(other);
  return names.length === Object.keys(one).length && names.every((name) => one[name] === other[name]);
}

/**
 * What was known of a run, and what the server answered just now, each where it is the newer.
 *
 * Events come while a question is on its way, so its answer may be behind them.
 */
export function merge(known: RunGraph | undefined, answer: RunGraph): RunGraph {
  if (!known || known.run.id !== answer.run.id) return answer;
  const before = new Map(known.nodes.map((each) => [each.id, each]));
  return {
    ...answer,
    run: known.run.revision > answer.run.revision ? known.run : answer.run,
    nodes: answer.nodes.map((each) => {
      const old = before.get(each.id);
      return old && isNewer(old, each) ? { ...each, ...old } : each;
    }),
  };
}

function isNewer(one: RunNode, other: RunNode): boolean {
  const [first, second] = [one.last, other.last];
  if (first && !second) return true;
  if (first && second) {
    if (first.fence !== second.fence) return first.fence > second.fence;
    if (first.attempt !== second.attempt) return first.attempt > second.attempt;
    if (first.revision !== second.revision) return first.revision > second.revision;
  }
  return !second && total(one.items?.counts) > total(other.items?.counts);
}

function total(counts: Record<string, number> | undefined): number {
  return Object.values(counts ?? {}).reduce((sum, each) => sum + each, 0);
}

/** How many steps are in each state. */
export function stateCounts(nodes: readonly RunNode[]): Array<[string, number]> {
  const counts = new Map<string, number>();
  for (const each of nodes) counts.set(each.state, (counts.get(each.state) ?? 0) + 1);
  return ORDER.filter((state) => counts.has(state)).map((state) => [state, counts.get(state) ?? 0]);
}

export const ORDER = ["failed", "running", "queued", "completed", "cached", "cancelled", "skipped"];
