import ELK, { type ElkNode, type ELK as Layouter } from "elkjs/lib/elk-api";
import workerUrl from "elkjs/lib/elk-worker.min.js?url";
import type { More } from "./lineage-fold";
import type { Lineage } from "./queries";

export const WIDTH = 220; // px
export const HEIGHT = 56;

export type Point = { x: number; y: number };

/** Where nodes stand, and along which points edges go. */
export type Laid = { nodes: Map<string, Point>; edges: Map<string, Point[]>; height: number };

let layouter: Layouter | undefined;

/** A lineage laid out from left to right, as values went; done in a worker. */
export async function placed(lineage: Lineage, more: More[] = []): Promise<Laid> {
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
      "elk.edgeRouting": "ORTHOGONAL",
      "elk.layered.spacing.edgeNodeBetweenLayers": "20",
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
  return {
    nodes: new Map((laid.children ?? []).map(({ id, x = 0, y = 0 }): [string, Point] => [id, { x, y }])),
    edges: new Map(
      (laid.edges ?? []).map(({ id, sections = [] }): [string, Point[]] => [
        id,
        sections.flatMap((each) => [each.startPoint, ...(each.bendPoints ?? []), each.endPoint]),
      ]),
    ),
    height: laid.height ?? 0,
  };
}

/** A path along points, its corners round. */
export function pathOf(points: Point[], radius = 8): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M ${first.x} ${first.y}`;
  let before = first;
  rest.forEach((at, number) => {
    const next = rest[number + 1];
    if (!next) path += ` L ${at.x} ${at.y}`;
    else {
      const into = towards(at, before, radius);
      const out = towards(at, next, radius);
      path += ` L ${into.x} ${into.y} Q ${at.x} ${at.y} ${out.x} ${out.y}`;
    }
    before = at;
  });
  return path;
}

/** The point that is so far from one on the way to another, but not beyond the middle. */
function towards(from: Point, to: Point, far: number): Point {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = Math.hypot(dx, dy) || 1;
  const part = Math.min(far, length / 2) / length;
  return { x: from.x + dx * part, y: from.y + dy * part };
}
