import { createRequire } from "node:module";
import type { ElkNode } from "elkjs/lib/elk-api";
import { describe, expect, it, vi } from "vitest";
import type { DrawnEdge } from "./fold";
import { answered, HEIGHT, neighbour, type Place, question, rounded, WIDTH } from "./layout";

vi.setConfig({ testTimeout: 120_000 }); // however busy the machine is

const Elk = createRequire(import.meta.url)("elkjs");
const elk: { layout(graph: ElkNode): Promise<ElkNode> } = new Elk();

function edge(source: string, target: string): DrawnEdge {
  return { id: `${source}\n${target}`, source, target, outputs: [] };
}

async function places(nodes: string[], edges: DrawnEdge[]): Promise<Map<string, Place>> {
  return answered(await elk.layout(question(nodes, edges))).places;
}

describe("where nodes are", () => {
  it("puts each behind what it waits for, and none on another", async () => {
    const nodes = Array.from({ length: 300 }, (_, at) => `n${at}`);
    const edges = nodes.slice(20).map((each, at) => edge(`n${at}`, each));
    const found = await places(nodes, edges);
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
    const found = await places(
      nodes,
      nodes.slice(1).map((each) => edge("a", each)),
    );
    const rows = nodes.slice(1).map((each) => found.get(each)?.y ?? 0);
    expect(rows).toEqual([...rows].sort((a, b) => a - b));
  });

  it("lays out one node, and none", async () => {
    expect((await places(["a"], [])).get("a")).toMatchObject({ x: 0 });
    expect((await places([], [])).size).toBe(0);
  });

  it("leads edges around nodes, from one to the other", async () => {
    const nodes = ["a", "b", "c", "d", "e"];
    const edges = [
      edge("a", "b"),
      edge("b", "c"),
      edge("c", "d"),
      edge("a", "d"),
      edge("a", "e"),
      edge("e", "d"),
    ];
    const told = answered(await elk.layout(question(nodes, edges)));
    const path = told.paths[3] as string;
    const [a, d] = [told.places.get("a") as Place, told.places.get("d") as Place];
    const numbers = path.match(/-?[\d.]+/g)?.map(Number) ?? [];
    expect(numbers[0]).toBeCloseTo(a.x + WIDTH, 0);
    expect(numbers.at(-2)).toBeCloseTo(d.x, 0);
    expect(path).toContain("Q");
  });

  it("lets arrows lead along edges, and up and down a column", () => {
    const found = new Map([
      ["a", { x: 0, y: 50 }],
      ["b", { x: 300, y: 0 }],
      ["c", { x: 300, y: 60 }],
      ["d", { x: 300, y: 200 }],
    ]);
    const edges = ["b", "c", "d"].map((each) => edge("a", each));
    const to = (from: string, key: string) => neighbour(from, key, edges, found);
    expect([to("a", "ArrowRight"), to("b", "ArrowDown"), to("d", "ArrowUp"), to("d", "ArrowLeft")]).toEqual([
      "c",
      "c",
      "c",
      "a",
    ]);
    expect([to("a", "ArrowLeft"), to("a", "x"), to("z", "ArrowUp"), to("b", "ArrowUp")]).toEqual([
      "",
      "",
      "",
      "",
    ]);
  });

  it("rounds corners, less where there is little room", () => {
    const corner = [
      { x: 0, y: 0 },
      { x: 100, y: 0 },
      { x: 100, y: 4 },
    ];
    expect(rounded(corner)).toBe("M0.0,0.0L98.0,0.0Q100.0,0.0 100.0,2.0L100.0,4.0");
    expect(rounded([])).toBe("");
    expect(rounded([{ x: 1, y: 1 }])).toBe("M1.0,1.0");
  });
});
