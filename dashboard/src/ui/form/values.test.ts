import { describe, expect, it } from "vitest";
import { asText, type Declared, givenOf, jsonOf, problem, textsOf } from "./values";
import { fieldOf } from "./wrong";

const of = (kind: string, more: Partial<Declared> = {}): Declared => ({
  type: kind,
  kind,
  required: false,
  ...more,
});

describe("a text for a parameter", () => {
  it("is refused when the declared type does not take it", () => {
    expect(["1.5", "", "x", "1e3"].map((each) => problem(each, of("int")) !== "")).toEqual(
      Array(4).fill(true),
    );
    expect(["", "much", "1,5"].map((each) => problem(each, of("float")) !== "")).toEqual([true, true, true]);
    expect(["yes", "1"].map((each) => problem(each, of("bool")) !== "")).toEqual([true, true]);
    expect(["{}", "a", "1"].map((each) => problem(each, of("list")) !== "")).toEqual([true, true, true]);
    expect(["[]", "null"].map((each) => problem(each, of("dict")) !== "")).toEqual([true, true]);
    expect(problem("c", of("", { choices: ["a", "b"] }))).toBe("Choose one of a, b.");
  });

  it("becomes the JSON of its type", () => {
    expect(jsonOf("-3", of("int"))).toBe(-3);
    expect(jsonOf("1e-3", of("float"))).toBe(0.001);
    expect(jsonOf("True", of("bool"))).toBe(true);
    expect(jsonOf('["a"]', of("tuple"))).toEqual(["a"]);
    expect(jsonOf('{"a": 1}', of("dict"))).toEqual({ a: 1 });
    expect(jsonOf("5", of("str"))).toBe("5");
    expect(jsonOf("2026-01-01", of(""))).toBe("2026-01-01");
  });

  it("stays a text where JSON would lose some of it", () => {
    expect(jsonOf("12345678901234567890", of("int"))).toBe("12345678901234567890");
    expect(jsonOf("inf", of("float"))).toBe("inf");
    expect(problem("-inf", of("float"))).toBe("");
  });

  it("is what was given, read back", () => {
    for (const [value, kind] of [
      [3, "int"],
      [0.25, "float"],
      [false, "bool"],
      [[1, { a: "ü" }], "list"],
      ["a text", "str"],
    ] as const) {
      expect(jsonOf(asText(value), of(kind))).toEqual(value);
    }
  });
});

describe("the parameters of a form", () => {
  const signature = {
    alpha: of("float", { default: 0.1 }),
    rows: of("int", { required: true }),
    name: of("str", { default: "x" }),
    day: of("", {}), // its default is nothing that JSON tells
  };

  it("begin as what a run would take", () => {
    expect(textsOf(signature, { alpha: "0.5" }, { name: "y" })).toEqual({
      alpha: "0.5",
      rows: "",
      name: "y",
      day: "",
    });
  });

  it("are those that were changed", () => {
    const texts = { alpha: "0.1", rows: "7", name: "", day: "" };
    expect(givenOf(signature, {}, texts)).toEqual({ given: { rows: 7, name: "" }, wrong: {} });
  });

  it("keep what was given before, also when it is what a run would take anyway", () => {
    const texts = { alpha: "0.1", rows: "7", name: "x", day: "" };
    expect(givenOf(signature, { rows: 7 }, texts, new Set(["alpha"])).given).toEqual({ alpha: 0.1 });
  });

  it("are told by name when they are wrong or missing", () => {
    const { given, wrong } = givenOf(signature, {}, { alpha: "much", rows: "", name: "x", day: "" });
    expect(given).toEqual({});
    expect(Object.keys(wrong).sort()).toEqual(["alpha", "rows"]);
  });
});

describe("an error of the server", () => {
  it("is of the first field that it names", () => {
    const known = new Set(["alpha", "cron"]);
    expect(fieldOf("parameter `alpha` of pipeline `churn` is `x`", known)).toBe("alpha");
    expect(fieldOf("no snapshot `churn`", known)).toBe("");
  });

  it("is of the field that holds what it quotes", () => {
    const known = new Set(["name", "cron"]);
    const values = { name: "a b", cron: "99 * * * *" };
    expect(fieldOf("`99 * * * *` is no schedule of cron's", known, values)).toBe("cron");
    expect(fieldOf("`a b` is no name of a schedule", known, values)).toBe("name");
    expect(fieldOf("the database does not answer", known, { name: "" })).toBe("");
  });
});
