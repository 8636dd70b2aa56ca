import { describe, expect, it } from "vitest";
import { isFiltered, NONE, question, readFilters, writeFilters } from "./filters";

const SOME = {
  name: "churn-1",
  state: ["failed", "running"] as const,
  pipeline: ["a", "b c"],
  tag: ["nightly"],
  stack: ["", "cluster"],
  since: "7d",
  until: "2026-03-01T00:00:00.000Z",
  sort: "-duration",
};

describe("filters in an address", () => {
  it("come back as they were", () => {
    const filters = readFilters(SOME);
    expect(readFilters(writeFilters(filters))).toEqual(filters);
    expect(filters.state).toEqual(["failed", "running"]);
  });

  it("say nothing when nothing is filtered", () => {
    expect(writeFilters(NONE)).toEqual({});
    expect(readFilters({})).toEqual(NONE);
    expect(isFiltered(NONE)).toBe(false);
    expect(isFiltered({ ...NONE, sort: "name" })).toBe(false);
    expect(isFiltered({ ...NONE, tag: ["a"] })).toBe(true);
  });

  it("that make no sense are left out", () => {
    const odd = {
      name: { a: 1 },
      state: ["failed", "exploded", 7],
      pipeline: "one",
      tag: ["a", "a", ""],
      since: "yesterday",
      until: "0d",
      sort: "colour",
    };
    expect(readFilters(odd)).toEqual({ ...NONE, state: ["failed"], pipeline: ["one"], tag: ["a"] });
  });

  it("with a name that is a number find it", () => {
    expect(readFilters({ name: 12 }).name).toBe("12");
  });
});

it("the server is asked for moments, not for spans", () => {
  const now = Date.parse("2026-03-08T12:00:00Z");
  expect(question(readFilters(SOME), now)).toEqual({
    name: "churn-1",
    state: ["failed", "running"],
    pipeline: ["a", "b c"],
    tag: ["nightly"],
    stack: ["", "cluster"],
    since: "2026-03-01T12:00:00.000Z",
    until: "2026-03-01T00:00:00.000Z",
    order: "-duration",
  });
  expect(question(NONE, now)).toEqual({ order: "-created_at" });
});
