import { describe, expect, it, vi } from "vitest";
import { ALIKE, picture } from "./fold";
import type { RunEdge, RunNode } from "./model";

vi.setConfig({ testTimeout: 120_000 }); // however busy the machine is

/** `load` → `count` times (`clean` → `fit`) → `pick`, as a loop makes it. */
function loop(count: number): [RunNode[], RunEdge[]] {
  const nodes: RunNode[] = [{ id: "load", state: "completed", function: "m:load" }];
  const edges: RunEdge[] = [];
  for (let at = 0; at < count; at += 1) {
    nodes.push({ id: `clean_${at}`, state: "completed", function: "m:clean" });
    nodes.push({ id: `fit_${at}`, state: at === 3 ? "failed" : "completed", function: "m:fit" });
    edges.push({ source: "load", target: `clean_${at}`, outputs: ["output"] });
    edges.push({ source: `clean_${at}`, target: `fit_${at}`, outputs: ["output"] });
    edges.push({ source: `fit_${at}`, target: "pick", outputs: ["output"] });
  }
  nodes.push({ id: "pick", state: "skipped", function: "m:pick" });
  return [nodes, edges];
}

function chain(count: number): [RunNode[], RunEdge[]] {
  const nodes = Array.from(
    { length: count },
    (_, at): RunNode => ({ id: `s${at}`, state: "queued", function: "m:s" }),
  );
  const edges = nodes
    .slice(1)
    .map((each, at): RunEdge => ({ source: `s${at}`, target: each.id, outputs: ["o"] }));
  return [nodes, edges];
}

describe("what is drawn of a graph", () => {
  it("is every step where few are alike", () => {
    const [nodes, edges] = loop(ALIKE - 1);
    const drawn = picture(nodes, edges);
    expect(drawn.nodes).toHaveLength(nodes.length);
    expect(drawn).toMatchObject({ folded: 0, leftOut: 0, around: "" });
  });

  it("has one node for many steps that are alike, and an edge once", () => {
    const [nodes, edges] = loop(5000);
    const drawn = picture(nodes, edges);
    expect(drawn.nodes.map((each) => [each.id, each.members.length])).toEqual([
      ["load", 1],
      ["clean_0 ×5000", 5000],
      ["fit_0 ×5000", 5000],
      ["pick", 1],
    ]);
    expect(drawn.edges.map((each) => [each.source, each.target])).toEqual([
      ["load", "clean_0 ×5000"],
      ["clean_0 ×5000", "fit_0 ×5000"],
      ["fit_0 ×5000", "pick"],
    ]);
    expect(drawn).toMatchObject({ folded: 10_000, all: 10_002, leftOut: 0 });
  });

  it("folds nothing that comes after something else: a chain of one function stays one", () => {
    expect(picture(...chain(100)).nodes).toHaveLength(100);
  });

  it("folds no mapped steps together", () => {
    const nodes = Array.from(
      { length: 20 },
      (_, at): RunNode => ({
        id: `m${at}`,
        state: "queued",
        function: "m:m",
        items: { total: null, counts: {} },
      }),
    );
    expect(picture(nodes, []).nodes).toHaveLength(20);
  });

  it("has the surroundings of a step where there are too many", () => {
    const [nodes, edges] = chain(10_000);
    const drawn = picture(nodes, edges, { focus: "s5000" });
    expect(drawn.nodes).toHaveLength(1500);
    expect(drawn).toMatchObject({ leftOut: 8500, around: "s5000" });
    expect(drawn.nodes.some((each) => each.id === "s4500")).toBe(true);
    expect(drawn.edges).toHaveLength(1499);
  });

  it("has the surroundings of what failed where nothing is chosen", () => {
    const [nodes, edges] = loop(3000);
    const drawn = picture(nodes, edges, { foldAlike: false });
    expect(drawn.around).toBe("fit_3");
    expect(drawn.nodes).toHaveLength(1500);
  });

  it("stands edges to steps that are not there, and none at all", () => {
    const drawn = picture(
      [{ id: "a", state: "queued" }],
      [
        { source: "x", target: "a" },
        { source: "a", target: "a" },
      ],
    );
    expect(drawn.edges).toEqual([]);
    expect(picture([], []).nodes).toEqual([]);
  });

  it("stands steps that wait for each other", () => {
    const nodes = ["a", "b"].map((id): RunNode => ({ id, state: "queued", function: "m:f" }));
    const edges: RunEdge[] = [
      { source: "a", target: "b" },
      { source: "b", target: "a" },
    ];
    expect(picture(nodes, edges, { most: 1 }).nodes).toHaveLength(1);
  });
});
