import { expect, test } from "vitest";
import { folded } from "./lineage-fold";
import type { Lineage } from "./queries";

/** `load` made `data`, which `runs` runs of `train` used; each made a model, which `test` used. */
function nights(runs: number): Lineage {
  const artifact = (id: string) => ({
    id,
    name: id,
    version: 1,
    type: "",
    size: 1,
    step: "",
    step_run: "",
    created_at: "2026-01-01T00:00:00Z",
  });
  const step = (id: string, name: string, night: number) => ({
    id,
    run: `p-${night}`,
    pipeline: "p",
    step: name,
    state: "completed" as const,
    created_at: `2026-01-${String(night + 1).padStart(2, "0")}T00:00:00Z`,
  });
  const all = Array.from({ length: runs }, (_, night) => night);
  return {
    artifact: "data",
    artifacts: [artifact("data"), ...all.map((night) => artifact(`model ${night}`))],
    step_runs: [
      step("load", "load", 0),
      ...all.flatMap((night) => [
        step(`train ${night}`, "train", night),
        step(`test ${night}`, "test", night),
      ]),
    ],
    edges: [
      { source: "load", target: "data" },
      ...all.flatMap((night) => [
        { source: "data", target: `train ${night}` },
        { source: `train ${night}`, target: `model ${night}` },
        { source: `model ${night}`, target: `test ${night}` },
      ]),
    ],
    uses: [],
    cut: false,
  };
}

test("few runs are all shown", () => {
  const lineage = nights(4);
  expect(folded(lineage)).toEqual({ shown: lineage, more: [] });
});

test("of many runs of a step the newest are shown, and what came of the others goes with them", () => {
  const { shown, more } = folded(nights(20));
  expect(shown.step_runs.map((each) => each.id)).toEqual([
    "load",
    ...[17, 18, 19].flatMap((night) => [`train ${night}`, `test ${night}`]),
  ]);
  expect(shown.artifacts.map((each) => each.id)).toEqual(["data", "model 17", "model 18", "model 19"]);
  expect(shown.edges).toHaveLength(10);
  expect(more).toEqual([{ id: "more p train", step: "train", count: 17, from: ["data"] }]);
});

test("what led to the artifact stays", () => {
  const lineage = { ...nights(20), artifact: "model 2" };
  const { shown } = folded(lineage);
  expect(shown.step_runs.map((each) => each.id)).toEqual(["load", "train 2"]);
});
