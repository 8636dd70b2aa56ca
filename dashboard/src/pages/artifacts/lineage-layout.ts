import ELK, { type ElkNode, type ELK as Layouter } from "elkjs/lib/elk-api";
import workerUrl from "elkjs/lib/elk-worker.min.js?url";
import type { More } from "./lineage-fold";
import type { Lineage } from "./queries";

export const WIDTH = 220; // px
export const HEIGHT = 56;

export type Place = { id: string; x: number; y: number };

let layouter: Layouter | undefined;

/** Where each node of a lineage stands, from left to right as values went; found in a worker. */
export async function placed(lineage: Lineage, more: More[] = []): Promise<Map<string, Place>> {
  layouter ??= new ELK({ workerFactory: () => new Worker(workerUrl) });
  const nodes = [...lineage.artifacts, ...lineage.step_runs, ...more].map((each) => ({
    id: each.id,
    width: WIDTH,
    height: HEIGHT,
  }));
  const laid: ElkNode = await layouter.layout({
    id: "lineage",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": "RIGHT",
      "elk.layered.spacing.nodeNodeBetweenLayers": "56",
      "elk.spacing.nodeNode": "20",
      "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
    },
    children: nodes,
    edges: [
      ...lineage.edges,
      ...more.flatMap(({ id, from }) => from.map((source) => ({ source, target: id }))),
    ].map(({ source, target }) => ({
      id: `${source} ${target}`,
      sources: [source],
      targets: [target],
    })),
  });
  return new Map(
    (laid.children ?? []).map(({ id, x = 0, y = 0 }) => [id, { id, x, y }] satisfies [string, Place]),
  );
}
