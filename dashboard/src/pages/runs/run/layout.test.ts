import { createRequire } from "node:module";
import type { ElkNode } from "elkjs/lib/elk-api";
import { describe, expect, it } from "vitest";
import type { DrawnEdge } from "./fold";
import { HEIGHT, places, question, WIDTH } from "./layout";

const Elk = createRequire(import.meta.url)("elkjs");
const elk: { layout(graph: ElkNode): Promise<ElkNode> } = new Elk();

function edge(source: string, target: string): DrawnEdge {
  return { id: `${source}\n${target}`, source, target, outputs: [] };
}

describe("where nodes are", () => {
  it("puts each behind what it waits for, and none on another", async () => {
    const nodes = Array.from({ length: 300 }, (_, at) => `n${at}`);
    const edges = nodes.slice(20).map((each, at) => edge(`n${at}`, each));
    const found = places(await elk.layout(question(nodes, edges)));
    expect(found.size).toBe(300);
    for (const each of edges) {
      expect(found.get(each.target)?.x).toBeGreaterThanOrEqual((found.get(each.source)?.x ?? 0) + WIDTH);
    }
    const columns = new Map<number, number[]>();
    for (const { x, y } of found.values()) columns.set(x, [...(columns.get(x) ?? []), y]);
    for (const rows of columns.values()) {
      rows.sort((a, b) => a - b);
      for (let at = 1; at < rows.length; at += 1) {
        expect((rows[at] as number) - (rows[at - 1] as number)).toBeGreaterThanOrEqual(HEIGHT);
      }
    }
  });

  it("keeps the order of the pipeline where that costs nothing", async () => {
    const nodes = ["a", "b", "c", "d"];
    const found = places(
      await elk.layout(
        question(
          nodes,
          nodes.slice(1).map((each) => edge("a", each)),
        ),
      ),
    );
    const rows = nodes.slice(1).map((each) => found.get(each)?.y ?? 0);
    expect(rows).toEqual([...rows].sort((a, b) => a - b));
  });

  it("lays out one node, and none", async () => {
    expect(places(await elk.layout(question(["a"], []))).get("a")).toMatchObject({ x: 0 });
    expect(places(await elk.layout(question([], []))).size).toBe(0);
  });
});
