import { expect, it } from "vitest";
import { given } from "./parameters";

const run = (name: string, parameters: Record<string, unknown>, state = "completed") => ({
  name,
  state,
  parameters,
});

it("parameters are told with their values, the most used first, and how often those failed", () => {
  const found = given([
    run("p-4", { alpha: 0.3, mode: "fast" }, "failed"),
    run("p-3", { alpha: 0.1, mode: "fast" }),
    run("p-2", { alpha: 0.1 }),
    run("p-1", { alpha: 0.2, mode: null }),
  ]);
  expect(found.map((each) => each.name)).toEqual(["alpha", "mode"]);
  const [alpha, mode] = found;
  expect(alpha?.last).toBe(0.3);
  expect(alpha?.values.map((each) => [each.value, each.runs, each.failed])).toEqual([
    [0.1, 2, 0],
    [0.3, 1, 1],
    [0.2, 1, 0],
  ]);
  expect(alpha?.points.map((each) => each.value)).toEqual([0.2, 0.1, 0.1, 0.3]);
  expect(mode?.distinct).toBe(2);
  expect(mode?.points).toEqual([]);
});

it("one value that never changes is no chart", () => {
  expect(given([run("p-2", { a: 1 }), run("p-1", { a: 1 })])[0]?.points).toEqual([]);
});
