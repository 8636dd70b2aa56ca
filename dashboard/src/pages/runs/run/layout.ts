import ELK, { type ElkNode } from "elkjs/lib/elk-api";
// As it is, and not made into a module: in a module it would not know that it is a worker's own.
import workerUrl from "elkjs/lib/elk-worker.min.js?url";
import type { DrawnEdge } from "./fold";

export const WIDTH = 208; // px, of every node
export const HEIGHT = 56;
const GAP = 76; // between columns
// Nodes up to which a layout takes all care, and some. Beyond, steps of a column keep the order of the pipeline, which
// is as good where a loop made them, and quick: a thousand nodes take under a second.
const FEW = 150;
const SOME = 400;

export type Place = { x: number; y: number };
export type Layout = { places: Map<string, Place>; paths: string[]; ms: number };

/** Asks the library what comes where. Pure, so that tests hold it. */
export function question(nodes: readonly string[], edges: readonly DrawnEdge[]): ElkNode {
  const options: Record<string, string> = {
    "elk.algorithm": "layered",
    "elk.direction": "RIGHT",
    "elk.spacing.nodeNode": "20",
    "elk.layered.spacing.nodeNodeBetweenLayers": `${GAP}`,
    "elk.layered.mergeEdges": "true",
  };
  if (nodes.length <= FEW) options["elk.layered.considerModelOrder.strategy"] = "NODES_AND_EDGES";
  else {
    options["elk.layered.thoroughness"] = "1";
    options["elk.layered.crossingMinimization.greedySwitch.type"] = "OFF";
    options["elk.layered.nodePlacement.strategy"] = "SIMPLE";
    if (nodes.length > SOME) options["elk.layered.crossingMinimization.strategy"] = "NONE";
  }
  return {
    id: "graph",
    layoutOptions: options,
    children: nodes.map((id) => ({ id, width: WIDTH, height: HEIGHT })),
    edges: edges.map((each, at) => ({ id: `${at}`, sources: [each.source], targets: [each.target] })),
  };
}

/**
 * Where nodes are, and the way of each edge, with columns moved together.
 *
 * The library leaves as much room between columns as the corners of edges take, side by side. All nodes are of one
 * width, so those of one column have one `x`, and what is between two columns is squeezed into one gap.
 */
export function answered(answer: ElkNode): { places: Map<string, Place>; paths: string[] } {
  const children = answer.children ?? [];
  const columns = [...new Set(children.map((each) => Math.round(each.x ?? 0)))].sort((a, b) => a - b);
  const moved = squeezed(columns);
  const places = new Map(
    children.map((each): [string, Place] => [
      each.id,
      { x: moved(Math.round(each.x ?? 0)), y: Math.round(each.y ?? 0) },
    ]),
  );
  const paths = (answer.edges ?? []).map((each) => {
    const section = each.sections?.[0];
    if (!section) return "";
    const points = [section.startPoint, ...(section.bendPoints ?? []), section.endPoint];
    return rounded(points.map(({ x, y }) => ({ x: moved(x), y })));
  });
  return { places, paths };
}

/** Moves an `x` to where it is when the columns, which begin at these, are `GAP` apart. */
function squeezed(columns: number[]): (x: number) => number {
  return (x) => {
    let [low, high] = [0, columns.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((columns[middle] as number) <= x) low = middle;
      else high = middle - 1;
    }
    const begin = columns[low] ?? 0;
    const left = low * (WIDTH + GAP);
    if (x <= begin + WIDTH || low === columns.length - 1) return left + x - begin;
    const gap = (columns[low + 1] as number) - begin - WIDTH;
    return left + WIDTH + ((x - begin - WIDTH) / gap) * GAP;
  };
}

const CORNER = 8; // px

/** A line through points, with round corners, as SVG has it. */
export function rounded(points: readonly Place[]): string {
  const [first] = points;
  if (!first) return "";
  let path = `M${at(first)}`;
  for (let here = 1; here < points.length; here += 1) {
    const [before, corner, after] = [points[here - 1], points[here], points[here + 1]] as [
      Place,
      Place,
      Place?,
    ];
    if (!after) {
      path += `L${at(corner)}`;
      break;
    }
    const radius = Math.min(CORNER, distance(before, corner) / 2, distance(corner, after) / 2);
    path += `L${at(towards(corner, before, radius))}Q${at(corner)} ${at(towards(corner, after, radius))}`;
  }
  return path;
}

function at({ x, y }: Place): string {
  return `${x.toFixed(1)},${y.toFixed(1)}`;
}

function distance(one: Place, other: Place): number {
  return Math.hypot(one.x - other.x, one.y - other.y);
}

function towards(from: Place, to: Place, length: number): Place {
  const all = distance(from, to) || 1;
  return { x: from.x + ((to.x - from.x) / all) * length, y: from.y + ((to.y - from.y) / all) * length };
}

/** The node that an arrow key leads to from another; empty where there is none. */
export function neighbour(
  from: string,
  key: string,
  edges: readonly DrawnEdge[],
  places: ReadonlyMap<string, Place>,
): string {
  const here = places.get(from);
  if (!here) return "";
  const nearest = (ids: string[]) => {
    const away = (id: string) => Math.abs((places.get(id)?.y ?? 0) - here.y);
    return ids.reduce((best, each) => (best && away(best) <= away(each) ? best : each), "");
  };
  const inColumn = () => [...places.keys()].filter((each) => places.get(each)?.x === here.x);
  switch (key) {
    case "ArrowRight":
      return nearest(edges.filter((each) => each.source === from).map((each) => each.target));
    case "ArrowLeft":
      return nearest(edges.filter((each) => each.target === from).map((each) => each.source));
    case "ArrowUp":
      return nearest(inColumn().filter((each) => (places.get(each)?.y ?? 0) < here.y));
    case "ArrowDown":
      return nearest(inColumn().filter((each) => (places.get(each)?.y ?? 0) > here.y));
    default:
      return "";
  }
}

type Elk = InstanceType<typeof ELK>;

let spare: Elk | null = null;

function begin(): Elk {
  return new ELK({ workerFactory: () => new Worker(workerUrl) });
}

/** Have a worker ready: to load the library takes as long as to lay out a small graph. */
export function warmUp() {
  spare ??= begin();
}

/** Lays graphs out in a worker, one at a time: a new question makes the one before it void. */
export class Layouter {
  private elk: Elk | null = null;
  private busy = false;

  async layout(nodes: readonly string[], edges: readonly DrawnEdge[]): Promise<Layout> {
    this.close();
    const elk = spare ?? begin();
    spare = null;
    this.elk = elk;
    this.busy = true;
    const began = performance.now();
    const answer = await elk.layout(question(nodes, edges));
    this.busy = false;
    return { ...answered(answer), ms: performance.now() - began };
  }

  close() {
    if (this.busy) this.elk?.terminateWorker();
    else if (this.elk) spare ??= this.elk;
    this.elk = null;
    this.busy = false;
  }
}
