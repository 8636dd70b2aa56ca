import { describe, expect, it } from "vitest";
import { chosen, counts, distanceOf, matrix } from "./matrix";

const column = (key: string, packages: Record<string, string>) => ({
  key,
  packages: Object.entries(packages).map(([name, version]) => ({ name, version })),
});

describe("matrix", () => {
  const rows = matrix([
    column("client", { pandas: "2.2.3", numpy: "2.4.6", rich: "14.0" }),
    column("train", { pandas: "3.1.1", numpy: "2.4.6", joblib: "1.6.0" }),
    column("report", { pandas: "2.2.3", jinja2: "3.1.6" }),
  ]);

  it("has a row for each package, those that differ first", () => {
    expect(rows.map((each) => [each.name, each.kind])).toEqual([
      ["pandas", "differs"],
      ["numpy", "same"],
      ["jinja2", "alone"],
      ["joblib", "alone"],
      ["rich", "alone"],
    ]);
  });

  it("groups equal versions, and leaves out where a package is not", () => {
    expect(rows[0]).toMatchObject({
      versions: ["2.2.3", "3.1.1", "2.2.3"],
      groups: [0, 1, 0],
      distance: "major",
    });
    expect(rows[1]).toMatchObject({
      versions: ["2.4.6", "2.4.6", null],
      groups: [0, 0, null],
      distance: null,
    });
  });

  it("shows what is asked for", () => {
    expect(chosen(rows, "alone", "J").map((each) => each.name)).toEqual(["jinja2", "joblib"]);
    expect(chosen(rows, "all", "")).toHaveLength(5);
    expect(counts(rows)).toEqual({ differs: 1, same: 1, alone: 3 });
  });

  it("puts what is further apart first", () => {
    const apart = matrix([
      column("a", { z: "1.0.0", y: "1.0.0", x: "1.0.0", w: "1.0" }),
      column("b", { z: "2.0.0", y: "1.1.0", x: "1.0.1", w: "1.0.post1" }),
    ]);
    expect(apart.map((each) => [each.name, each.distance])).toEqual([
      ["z", "major"],
      ["y", "minor"],
      ["x", "patch"],
      ["w", "other"],
    ]);
  });

  it("holds names that objects have of their own", () => {
    expect(
      matrix([column("a", {}), { key: "b", packages: [{ name: "constructor", version: "1" }] }]),
    ).toHaveLength(1);
  });
});

describe("distanceOf", () => {
  it.each([
    [["1.2.3", "1.2.3.post1"], "other"],
    [["1.2", "1.2.0"], "other"],
    [["1.2", "1.2.1"], "patch"],
    [["2024.1", "2025.1"], "major"],
    [["1!1.0", "1.0"], "major"],
    [["0+unknown", "0.1"], "minor"],
    [["", "1"], "major"],
  ])("%j is %s", (versions, wanted) => {
    expect(distanceOf(versions as string[])).toBe(wanted);
  });
});
