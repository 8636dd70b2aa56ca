import type { RunEdge, RunNode } from "./model";

/** Beyond this many, nodes are neither laid out nor drawn. */
export const MOST = 1500;
/** So many steps that are alike become one node. */
export const ALIKE = 8;

/** What is drawn: a step, or several that are alike. */
export type Drawn = { id: string; members: RunNode[] };
export type DrawnEdge = { id: string; source: string; target: string; outputs: string[] };

export type Picture = {
  nodes: Drawn[];
  edges: DrawnEdge[];
  folded: number; // steps that stand in nodes of several
  all: number; // steps
  leftOut: number; // nodes for which there is no room
  around: string; // the step whose surroundings are shown, when not all is
};

/**
 * What to draw of a graph.
 *
 * Steps of one function that come after the same and before the same are alike, as a loop makes them. They become one
 * node when there are many, unless `foldAlike` is off. Where even so there are too many, those nearest to
 * `focus` are drawn, be it a step's id or empty.
 */
export function picture(
  nodes: readonly RunNode[],
  edges: readonly RunEdge[],
  { foldAlike = true, focus = "", most = MOST }: { foldAlike?: boolean; focus?: string; most?: number } = {},
): Picture {
  let groups = foldAlike ? alike(nodes, edges, ALIKE) : nodes.map((each) => [each]);
  if (foldAlike && groups.length > most) groups = alike(nodes, edges, 2);
  const drawn: Drawn[] = groups.map((members) => ({
    id: members.length > 1 ? `${(members[0] as RunNode).id} ×${members.length}` : (members[0] as RunNode).id,
    members,
  }));
  const home = new Map<string, string>();
  for (const each of drawn) for (const member of each.members) home.set(member.id, each.id);
  const joined = new Map<string, DrawnEdge>();
  for (const each of edges) {
    const source = home.get(each.source);
    const target = home.get(each.target);
    if (source === undefined || target === undefined || source === target) continue;
    const id = `${source}\n${target}`;
    const known = joined.get(id);
    if (!known) joined.set(id, { id, source, target, outputs: [...(each.outputs ?? [])] });
    else
      for (const output of each.outputs ?? [])
        if (!known.outputs.includes(output)) known.outputs.push(output);
  }
  const all = [...joined.values()];
  const folded = drawn.reduce((sum, each) => sum + (each.members.length > 1 ? each.members.length : 0), 0);
  if (drawn.length <= most) {
    return { nodes: drawn, edges: all, folded, all: nodes.length, leftOut: 0, around: "" };
  }
  const start = home.get(focus) ?? home.get(worst(nodes)?.id ?? "") ?? (drawn[0] as Drawn).id;
  const near = nearest(start, drawn, all, most);
  return {
    nodes: drawn.filter((each) => near.has(each.id)),
    edges: all.filter((each) => near.has(each.source) && near.has(each.target)),
    folded,
    all: nodes.length,
    leftOut: drawn.length - near.size,
    around: start,
  };
}

/** The step that one would look at first: one that failed, else one that runs. */
export function worst(nodes: readonly RunNode[]): RunNode | undefined {
  return nodes.find((each) => each.state === "failed") ?? nodes.find((each) => each.state === "running");
}

/** Steps in groups of those that are alike, each group at the place of its first; small groups are taken apart. */
function alike(nodes: readonly RunNode[], edges: readonly RunEdge[], least: number): RunNode[][] {
  const before = signatures(nodes, edges, "source", "target");
  const after = signatures(nodes, edges, "target", "source");
  const groups = new Map<string, RunNode[]>();
  for (const each of nodes) {
    // A mapped step is a node of many already.
    const key = each.items ? `item ${each.id}` : `${before.get(each.id)} ${after.get(each.id)}`;
    const group = groups.get(key);
    if (group) group.push(each);
    else groups.set(key, [each]);
  }
  return [...groups.values()].flatMap((group) =>
    group.length >= least ? [group] : group.map((each) => [each]),
  );
}

/**
 * A number for each step that is equal for those of one function with equal numbers before them (or after them).
 *
 * Nodes come in an order in which each follows what it needs; a step that waits for itself is alike to none.
 */
function signatures(
  nodes: readonly RunNode[],
  edges: readonly RunEdge[],
  from: "source" | "target",
  to: "source" | "target",
): Map<string, number> {
  const incoming = new Map<string, string[]>();
  const outgoing = new Map<string, string[]>();
  const known = new Set(nodes.map((each) => each.id));
  for (const each of edges) {
    if (!known.has(each[from]) || !known.has(each[to])) continue;
    push(incoming, each[to], each[from]);
    push(outgoing, each[from], each[to]);
  }
  const functions = new Map(nodes.map((each) => [each.id, each.function || each.id]));
  const waiting = new Map(nodes.map((each) => [each.id, incoming.get(each.id)?.length ?? 0]));
  const ready = nodes.filter((each) => !waiting.get(each.id)).map((each) => each.id);
  const numbers = new Map<string, number>();
  const texts = new Map<string, number>();
  for (let at = 0; at < ready.length; at += 1) {
    const id = ready[at] as string;
    const near = new Set((incoming.get(id) ?? []).map((each) => numbers.get(each) ?? -1));
    const text = `${functions.get(id)}|${[...near].sort((a, b) => a - b).join()}`;
    const number = texts.get(text) ?? texts.size;
    texts.set(text, number);
    numbers.set(id, number);
    for (const next of outgoing.get(id) ?? []) {
      const left = (waiting.get(next) ?? 1) - 1;
      waiting.set(next, left);
      if (left === 0) ready.push(next);
    }
  }
  let lonely = texts.size;
  for (const each of nodes) if (!numbers.has(each.id)) numbers.set(each.id, lonely++);
  return numbers;
}

/** Those nearest to a node, whichever way the edges go; without more edges, the next in the order of the graph. */
function nearest(start: string, nodes: Drawn[], edges: DrawnEdge[], most: number): Set<string> {
  const beside = new Map<string, string[]>();
  for (const each of edges) {
    push(beside, each.source, each.target);
    push(beside, each.target, each.source);
  }
  const near = new Set([start]);
  const queue = [start];
  const first = Math.max(
    0,
    nodes.findIndex((each) => each.id === start),
  );
  const order = [...nodes.slice(first), ...nodes.slice(0, first)];
  let next = 0;
  for (let at = 0; near.size < most; at += 1) {
    if (at >= queue.length) {
      while (next < order.length && near.has((order[next] as Drawn).id)) next += 1;
      if (next >= order.length) break;
      near.add((order[next] as Drawn).id);
      queue.push((order[next] as Drawn).id);
    }
    for (const each of beside.get(queue[at] as string) ?? []) {
      if (near.size < most && !near.has(each)) {
        near.add(each);
        queue.push(each);
      }
    }
  }
  return near;
}

function push(lists: Map<string, string[]>, key: string, value: string) {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
