import { describe, expect, it } from "vitest";
import { fill, percent, readDays, totals, yesterday } from "./spans";

const NOW = Date.parse("2026-03-10T15:30:00Z");
const span = (at: string, states: Record<string, number>, median_s: number | null = null) => ({
  at,
  states,
  median_s,
  slow_s: median_s,
});

describe("the days of a chart", () => {
  it("are all there, the last is today, and those without runs are empty", () => {
    const filled = fill(
      [
        span("2026-03-08T00:00:00Z", { completed: 3, failed: 1 }, 12),
        span("2026-03-10T00:00:00Z", { running: 1 }),
      ],
      86_400,
      4,
      NOW,
    );
    expect(filled.x.map((at) => new Date(at * 1000).toISOString().slice(0, 10))).toEqual([
      "2026-03-07",
      "2026-03-08",
      "2026-03-09",
      "2026-03-10",
    ]);
    expect(filled.states.completed).toEqual([0, 3, 0, 0]);
    expect(filled.states.running).toEqual([0, 0, 0, 1]);
    expect(filled.median).toEqual([null, 12, null, null]);
  });

  it("begin where the server's do", () => {
    const filled = fill([span("2026-03-09T23:00:00Z", { completed: 1 })], 86_400, 2, NOW);
    expect(filled.states.completed).toEqual([0, 1]);
  });

  it("are there without any run", () => {
    expect(fill([], 3600, 1, NOW).x).toHaveLength(24);
  });
});

it("what came of all runs is counted, and the share of good ones", () => {
  expect(totals([span("2026-03-08T00:00:00Z", { completed: 3, failed: 1, cancelled: 2 })])).toEqual({
    runs: 6,
    failed: 1,
    success: 0.75,
  });
  expect(totals([]).success).toBeNull();
});

it("a share is never all while something failed", () => {
  expect([percent(1), percent(0.999), percent(0.5), percent(null)]).toEqual(["100 %", "> 99 %", "50 %", "–"]);
});

it("yesterday began at its midnight", () => {
  const begin = new Date(yesterday(NOW));
  expect([begin.getHours(), begin.getMinutes()]).toEqual([0, 0]);
  expect(NOW - begin.getTime()).toBeGreaterThan(86_400_000);
  expect(NOW - begin.getTime()).toBeLessThan(2 * 86_400_000 + 1);
});

it("days that are not offered are as usual", () => {
  expect([readDays("30", 14), readDays(7, 14), readDays("x", 14), readDays(undefined, 14)]).toEqual([
    30, 7, 14, 14,
  ]);
});
