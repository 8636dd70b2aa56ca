import { describe, expect, it } from "vitest";
import { type Node, tree, withReasons } from "./tree";

function nodes(requires: Record<string, string[]>, requested: string[]): Node[] {
  return Object.entries(requires).map(([name, needs]) => ({
    name,
    requested: requested.includes(name) ? [`${name}>=1`] : [],
    required_by: Object.keys(requires).filter((each) => requires[each]?.includes(name)),
    requires: Object.fromEntries(needs.map((each) => [each, ""])),
  }));
}

const lines = (found: ReturnType<typeof tree>) =>
  found.map((each) => `${" ".repeat(each.depth)}${each.node.name}`);

describe("tree", () => {
  const some = nodes({ numpy: [], pandas: ["numpy", "pytz"], pytz: [], scipy: ["numpy"] }, [
    "pandas",
    "scipy",
  ]);

  it("has what was requested at the margin, and below what that requires", () => {
    expect(lines(tree(some, new Set()))).toEqual(["pandas", " numpy", " pytz", "scipy", " numpy"]);
  });

  it("hides what is below a closed line", () => {
    expect(lines(tree(some, new Set(["pandas"])))).toEqual(["pandas", "scipy", " numpy"]);
  });

  it("tells of what a package requires once", () => {
    const found = tree(nodes({ a: ["c"], b: ["c"], c: ["d"], d: [] }, ["a", "b"]), new Set());
    expect(lines(found)).toEqual(["a", " c", "  d", "b", " c"]);
    expect(found.at(-1)).toMatchObject({ again: true, children: 0 });
  });

  it("ends where packages require each other, and shows those that nobody asked for", () => {
    expect(lines(tree(nodes({ a: ["b"], b: ["a"] }, []), new Set()))).toEqual(["a", " b", "  a"]);
  });

  it("holds a chain that is long", () => {
    const chain = Object.fromEntries(
      Array.from({ length: 500 }, (_, at) => [`p${at}`, at < 499 ? [`p${at + 1}`] : []]),
    );
    expect(
      tree(
        nodes(chain, ["p0"]).map((each) => each),
        new Set(),
      ),
    ).toHaveLength(500);
  });
});

describe("withReasons", () => {
  it("keeps what requires the packages that are found", () => {
    const some = nodes({ numpy: [], pandas: ["numpy"], rich: [] }, ["pandas", "rich"]);
    expect(withReasons(some, "NUM").map((each) => each.name)).toEqual(["numpy", "pandas"]);
    expect(withReasons(some, " ")).toHaveLength(3);
  });
});
