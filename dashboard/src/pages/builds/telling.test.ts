import { describe, expect, it } from "vitest";
import { lines, phases, standing, sums } from "./telling";

describe("lines", () => {
  it("have a time, a stream and a text, which may look like anything", () => {
    expect(
      lines(
        "2026-01-01T10:00:00.000+00:00 O layer `base`: sent\n2026-01-01T10:00:01.000+00:00 E <b>no</b> E x\n",
      ),
    ).toEqual([
      { time: "2026-01-01T10:00:00.000+00:00", stream: "stdout", text: "layer `base`: sent" },
      { time: "2026-01-01T10:00:01.000+00:00", stream: "stderr", text: "<b>no</b> E x" },
    ]);
    expect(lines("")).toEqual([]);
    expect(lines("torn\n")).toEqual([{ time: "", stream: "stdout", text: "torn" }]);
    expect(lines("t O \n")[0]?.text).toBe("");
  });
});

describe("standing", () => {
  it.each([
    [{ state: "running", found: false }, false, "running"],
    [{ state: "running", found: false }, true, "lost"],
    [{ state: "completed", found: true }, false, "found"],
    [{ state: "completed", found: false }, true, "built"],
    [{ state: "failed", found: false }, false, "failed"],
  ] as const)("of %j, lost: %s, is %s", (build, lost, wanted) => {
    expect(standing(build, lost)).toBe(wanted);
  });
});

it("bytes are summed", () => {
  expect(sums([{ bytes_made: 1, bytes_sent: 2, bytes_reused: 3 }, { bytes_made: 10 }])).toEqual({
    made: 11,
    sent: 2,
    reused: 3,
  });
});

it("phases are in the order in which they happen", () => {
  expect(phases({ push: 2, layers: 3, odd: 1, base: 0 }).map((each) => each.name)).toEqual([
    "layers",
    "push",
    "odd",
  ]);
  expect(phases(undefined)).toEqual([]);
});
