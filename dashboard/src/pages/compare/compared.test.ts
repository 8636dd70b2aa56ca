import { describe, expect, it } from "vitest";
import {
  artifacts,
  environments,
  isSame,
  kinds,
  lastAttempts,
  logged,
  readRuns,
  rows,
  stepSeconds,
} from "./compared";

describe("an address", () => {
  it("names each run once", () => {
    expect(readRuns("a-1, b-2,,a-1")).toEqual(["a-1", "b-2"]);
    expect(readRuns(undefined)).toEqual([]);
  });
});

describe("rows", () => {
  it("have what any has, and tell whether all are the same", () => {
    expect(
      rows<unknown>([
        { b: 1, a: { x: 1, y: 2 } },
        { a: { y: 2, x: 1 }, c: null },
      ]),
    ).toEqual([
      {
        name: "a",
        values: [
          { x: 1, y: 2 },
          { y: 2, x: 1 },
        ],
        same: true,
      },
      { name: "b", values: [1, undefined], same: false },
      { name: "c", values: [undefined, null], same: false },
    ]);
  });

  it("do not take names of every object for values", () => {
    expect(rows([{}, { constructor: "x" } as Record<string, string>])).toEqual([
      { name: "constructor", values: [undefined, "x"], same: false },
    ]);
  });

  it("tell a text from a number", () => expect(isSame([1, "1"])).toBe(false));
});

const kept = { id: "", created_at: "", revision: 1 };
const step = (name: string, attempt: number, more: object = {}) => ({
  ...kept,
  run: "r",
  step: name,
  attempt,
  ...more,
});

it("of each step the last attempt counts, in whatever order they come", () => {
  const last = lastAttempts([step("a", 2, { id: "second" }), step("a", 1, { id: "first" }), step("b", 1)]);
  expect(last.get("a")?.id).toBe("second");
  expect(last.size).toBe(2);
});

it("what was logged is told by step, and drawn by its kind", () => {
  const run = { ...kept, pipeline: "p", metadata: { accuracy: 0.9, note: "good" } };
  const told = logged(run, [step("fit", 1, { metadata: { loss: [3, 2, 1], rows: 10 } })]);
  expect(Object.keys(told)).toEqual(["accuracy", "note", "fit.loss", "fit.rows"]);
  const { numbers, series, others } = kinds(rows([told, { accuracy: 0.8, "fit.rows": "many" }]));
  expect(numbers.map((each) => each.name)).toEqual(["accuracy"]);
  expect(series.map((each) => each.name)).toEqual(["fit.loss"]);
  expect(others.map((each) => each.name)).toEqual(["fit.rows", "note"]);
});

it("a step that has not ended took no time yet", () => {
  const took = { started_at: "2026-03-01T00:00:00Z", finished_at: "2026-03-01T00:01:00Z" };
  expect(stepSeconds([step("a", 1, took), step("b", 1, { started_at: took.started_at })])).toEqual({ a: 60 });
});

it("environments are compared package by package", () => {
  const known = new Map([
    [
      "x",
      {
        ...kept,
        name: "e",
        python: "3.11",
        packages: [
          { name: "numpy", version: "1" },
          { name: "six", version: "1" },
        ],
      },
    ],
    [
      "y",
      {
        ...kept,
        name: "e",
        python: "3.12",
        packages: [
          { name: "numpy", version: "2" },
          { name: "six", version: "1" },
          { name: "new", version: "3" },
        ],
      },
    ],
  ]);
  const [found] = environments([{ e: "x" }, { e: "y" }], known);
  expect(found?.packages).toEqual([
    { name: "new", values: [undefined, "3"], same: false },
    { name: "numpy", values: ["1", "2"], same: false },
  ]);
  expect(found?.shared).toBe(1);
  expect(found?.facts.find((each) => each.name === "Python")?.same).toBe(false);
});

it("artifacts are the same when their content is", () => {
  const one = { ...kept, name: "m", digest: "d" };
  expect(artifacts([[{ ...one, version: 1 }], [{ ...one, version: 2 }]])[0]?.same).toBe(true);
  expect(artifacts([[one], [{ ...one, digest: "other" }]])[0]?.same).toBe(false);
});
