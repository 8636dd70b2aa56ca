import { describe, expect, it } from "vitest";
import { type LiveEvent, merge, reduce, stateCounts } from "./live";
import type { RunGraph, StepRun } from "./model";

const RUN = {
  id: "r",
  revision: 1,
  state: "running",
  name: "churn-1",
  pipeline: "churn",
  created_at: "",
} as const;

function graph(): RunGraph {
  return {
    run: RUN as unknown as RunGraph["run"],
    whole: true,
    driven: true,
    nodes: [
      { id: "load", state: "queued" },
      { id: "fit", state: "queued", items: { total: 4, counts: {} } },
    ],
    edges: [{ source: "load", target: "fit", outputs: ["output"] }],
  };
}

function stepRun(told: Partial<StepRun>): LiveEvent {
  return {
    event: "step_run",
    data: {
      id: "1",
      revision: 1,
      step: "load",
      state: "running",
      fence: 1,
      attempt: 1,
      index: null,
      ...told,
    } as StepRun,
  };
}

describe("the graph of a run that goes on", () => {
  it("takes each step as it was told last", () => {
    const first = reduce(graph(), [stepRun({})]);
    expect(first.nodes[0]).toMatchObject({ state: "running", attempts: 1 });
    const then = reduce(first, [stepRun({ revision: 2, state: "completed" })]);
    expect(then.nodes[0]).toMatchObject({ state: "completed", attempts: 1 });
  });

  it("stays as it is, the very same, when all is told again", () => {
    const events = [
      stepRun({ id: "1", state: "failed" }),
      stepRun({ id: "2", attempt: 2, state: "completed" }),
      { event: "items", data: { step: "fit", counts: { completed: 2 } } } as LiveEvent,
    ];
    const once = reduce(graph(), events);
    expect(once.nodes[0]).toMatchObject({ state: "completed", attempts: 2 });
    expect(reduce(once, events)).toBe(once);
  });

  it("takes the attempt of a later driver for the later one", () => {
    const once = reduce(graph(), [
      stepRun({ id: "1", attempt: 2, state: "cancelled" }),
      stepRun({ id: "2", attempt: 1, fence: 2, state: "cached" }),
    ]);
    expect(once.nodes[0]?.state).toBe("cached");
  });

  it("counts items, and knows that their step runs", () => {
    const once = reduce(graph(), [{ event: "items", data: { step: "fit", counts: { completed: 2 } } }]);
    expect(once.nodes[1]).toMatchObject({ state: "running", items: { total: 4, counts: { completed: 2 } } });
    expect(reduce(once, [stepRun({ index: 3 })])).toBe(once);
  });

  it("adds a step that it did not know, and ends with the run", () => {
    const once = reduce({ ...graph(), whole: false }, [
      stepRun({ id: "9", step: "new" }),
      { event: "run", data: { ...RUN, revision: 2, state: "completed" } as unknown as RunGraph["run"] },
    ]);
    expect(once.nodes.map((each) => each.id)).toEqual(["load", "fit", "new"]);
    expect([once.run.state, once.driven]).toEqual(["completed", false]);
    expect(reduce(once, [{ event: "run", data: RUN as unknown as RunGraph["run"] }])).toBe(once);
  });

  it("keeps of a long message what the server would have kept", () => {
    const failure = { reason: "exception", type: "ValueError", message: "x".repeat(1000) };
    const once = reduce(graph(), [stepRun({ state: "failed", failure })]);
    expect(once.nodes[0]?.last?.failure?.message).toHaveLength(301);
  });

  it("is not set back by an answer that was overtaken on its way", () => {
    const now = reduce(graph(), [
      stepRun({ revision: 2, state: "completed" }),
      { event: "items", data: { step: "fit", counts: { completed: 3 } } },
    ]);
    const merged = merge(now, { ...graph(), driven: false });
    expect(merged.nodes.map((each) => each.state)).toEqual(["completed", "running"]);
    expect(merged.driven).toBe(false);
    expect(merge(graph(), now)).toEqual(now);
    expect(merge({ ...now, run: { ...now.run, id: "other" } }, graph())).toEqual(graph());
  });

  it("counts steps by state, what went wrong first", () => {
    expect(
      stateCounts([
        { id: "a", state: "cached" },
        { id: "b", state: "failed" },
        { id: "c", state: "cached" },
      ]),
    ).toEqual([
      ["failed", 1],
      ["cached", 2],
    ]);
  });
});
