import { describe, expect, it, vi } from "vitest";
import type { Run, RunNode } from "./model";
import { ticks, timeline } from "./timeline";

vi.setConfig({ testTimeout: 120_000 }); // however busy the machine is

const BEGIN = Date.parse("2026-01-01T00:00:00Z");
const at = (seconds: number) => new Date(BEGIN + seconds * 1000).toISOString();
const run = (finished: number | null): Run =>
  ({ id: "r", started_at: at(0), finished_at: finished === null ? null : at(finished) }) as unknown as Run;

function node(
  id: string,
  told: Partial<NonNullable<RunNode["last"]>>,
  state: RunNode["state"] = "completed",
): RunNode {
  return { id, state, last: { id, revision: 1, fence: 1, attempt: 1, state, ...told } };
}

describe("where the time of a run went", () => {
  it("tells queued, environment, starting, loading, running and saving apart", () => {
    const seconds = { queued: 1, environment: 2, total: 6, loading: 1, running: 3, saving: 1 };
    const told = timeline(run(10), [node("a", { started_at: at(1), finished_at: at(9), seconds })], 0);
    expect(told.bars[0]?.parts).toEqual([
      { phase: "queued", start: 0, end: 1 },
      { phase: "environment", start: 1, end: 3 },
      { phase: "starting", start: 3, end: 4 },
      { phase: "loading", start: 4, end: 5 },
      { phase: "running", start: 5, end: 8 },
      { phase: "saving", start: 8, end: 9 },
    ]);
    expect(told.totals).toEqual([
      ["queued", 1],
      ["environment", 2],
      ["starting", 1],
      ["loading", 1],
      ["running", 3],
      ["saving", 1],
    ]);
    expect(told.length).toBe(10);
  });

  it("lets what runs reach until now", () => {
    const told = timeline(run(null), [node("a", { started_at: at(2) }, "running")], BEGIN + 5000);
    expect(told.bars[0]).toMatchObject({ start: 2, end: 5, parts: [{ phase: "running", start: 2, end: 5 }] });
    expect(told.length).toBe(5);
  });

  it("lets a mapped step run since its first item began", () => {
    const items = { total: 9, counts: { completed: 1 }, began: at(1) };
    const told = timeline(run(null), [{ id: "m", state: "running", items }], BEGIN + 4000);
    expect(told.bars[0]).toMatchObject({ start: 1, end: 4, parts: [{ phase: "running", start: 1, end: 4 }] });
    expect(told.waiting).toBe(0);
    const ended = node("m", { started_at: at(1), finished_at: at(3), seconds: { total: 2 } });
    expect(timeline(run(3), [ended], 0).bars[0]?.parts).toEqual([{ phase: "running", start: 1, end: 3 }]);
  });

  it("never lets parts reach beyond their end, whatever was measured", () => {
    const seconds = { environment: 50, running: 50 };
    const told = timeline(run(3), [node("a", { started_at: at(1), finished_at: at(2), seconds })], 0);
    expect(told.bars[0]?.parts).toEqual([{ phase: "environment", start: 1, end: 2 }]);
    const parts = timeline(run(3), [node("a", { started_at: at(2), finished_at: at(1), seconds })], 0).bars[0]
      ?.parts;
    expect(parts).toEqual([]);
  });

  it("says of a second attempt nothing of the wait for the first", () => {
    const last = { attempt: 2, started_at: at(5), finished_at: at(6), seconds: { queued: 5, running: 1 } };
    expect(timeline(run(6), [node("a", last)], 0).bars[0]).toMatchObject({ start: 5, end: 6 });
  });

  it("puts steps in the order in which they began, and counts those that did not", () => {
    const told = timeline(
      run(9),
      [
        node("late", { started_at: at(5), finished_at: at(6) }),
        node("early", { started_at: at(1), finished_at: at(2) }),
        node("never", { started_at: at(9) }, "skipped"),
        { id: "waiting", state: "queued" },
      ],
      0,
    );
    expect(told.bars.map((each) => each.id)).toEqual(["early", "late"]);
    expect(told.waiting).toBe(2);
  });

  it("stands a run of which nothing began, and ten thousand steps", () => {
    expect(timeline(run(null), [], BEGIN).length).toBeGreaterThan(0);
    const many = Array.from({ length: 200_000 }, (_, each) =>
      node(`s${each}`, { started_at: at(each), finished_at: at(each + 1) }),
    );
    expect(timeline(run(null), many, BEGIN).bars).toHaveLength(200_000);
  });

  it("writes the time at round seconds", () => {
    expect(ticks(10, 6)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(ticks(0.0045, 5)).toHaveLength(5);
    expect(ticks(3600 * 30, 6)).toEqual([0, 21600, 43200, 64800, 86400, 108000]);
    expect(ticks(86400 * 400, 6).length).toBeLessThanOrEqual(7);
  });
});
