import ELK, { type ElkNode } from "elkjs/lib/elk-api";
// As it is, and not made into a module: in a module it would not know that it is a worker's own.
import workerUrl from "elkjs/lib/elk-worker.min.js?url";
import type { DrawnEdge } from "./fold";

export const WIDTH = 208; // px, of every node
export const HEIGHT = 56;
const GAP = 76; // between columns
const FEW = 150; // nodes that are laid out with all care; more have to be quick

export type Place = { x: number; y: number };
export type Layout = { places: Map<string, Place>; ms: number };

/** Asks the library what comes where. Pure, so that tests hold it. */
export function question(nodes: readonly string[], edges: readonly DrawnEdge[]): ElkNode {
  const quick = nodes.length > FEW;
  return {
    id: "graph",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "RIGHT",
      "elk.spacing.nodeNode": "20",
      "elk.layered.spacing.nodeNodeBetweenLayers": `${GAP}`,
      "elk.layered.mergeEdges": "true",
      "elk.layered.considerModelOrder.strategy": quick ? "NONE" : "NODES_AND_EDGES",
      ...(quick
        ? {
            "elk.layered.thoroughness": "1",
            "elk.layered.crossingMinimization.greedySwitch.type": "OFF",
          }
        : {}),
    },
    children: nodes.map((id) => ({ id, width: WIDTH, height: HEIGHT })),
    edges: edges.map((each, at) => ({ id: `${at}`, sources: [each.source], targets: [each.target] })),
  };
}

/**
 * Where nodes are, with columns moved together.
 *
 * The library leaves room between columns for the corners of edges, which are drawn as curves here. All nodes are of
 * one width, so those of one column have one `x`.
 */
export function places(answer: ElkNode): Map<string, Place> {
  const children = answer.children ?? [];
  const columns = [...new Set(children.map((each) => Math.round(each.x ?? 0)))].sort((a, b) => a - b);
  const column = new Map(columns.map((x, at) => [x, at]));
  return new Map(
    children.map((each) => [
      each.id,
      { x: (column.get(Math.round(each.x ?? 0)) ?? 0) * (WIDTH + GAP), y: Math.round(each.y ?? 0) },
    ]),
  );
}

/** Lays graphs out in a worker. What is asked for anew makes the question before it void. */
export class Layouter {
  private elk: InstanceType<typeof ELK> | null = null;

  async layout(nodes: readonly string[], edges: readonly DrawnEdge[]): Promise<Layout> {
    this.close();
    const elk = new ELK({ workerFactory: () => new Worker(workerUrl) });
    this.elk = elk;
    const began = performance.now();
    const answer = await elk.layout(question(nodes, edges));
    return { places: places(answer), ms: performance.now() - began };
  }

  close() {
    this.elk?.terminateWorker();
    this.elk = null;
  }
}
