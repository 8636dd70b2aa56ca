import { expect, test } from "vitest";
import { charted, flat, series, shown } from "./metadata";
import type { Artifact } from "./queries";

const version = (number: number, metadata: Record<string, unknown>): Artifact => ({
  id: String(number),
  created_at: "2026-01-01T00:00:00Z",
  digest: "",
  name: "a",
  revision: 1,
  version: number,
  metadata,
});

test("nested metadata has paths for names", () => {
  expect(flat({ a: 1, b: { c: { d: 2 } }, e: [1, 2], f: null })).toEqual([
    ["a", 1],
    ["b.c.d", 2],
    ["e", [1, 2]],
    ["f", null],
  ]);
  expect(flat(undefined)).toEqual([]);
});

test("numbers that two versions have can be charted, those that change first", () => {
  const all = [
    version(3, { a: 1, b: 2, "0": 5 }),
    version(2, { a: 2, c: "x", "0": 5 }),
    version(1, { a: 3, b: 1, d: 9, "0": 5 }),
  ];
  expect(charted(all)).toEqual(["a", "b", "0"]);
  expect(series(all, ["a", "b"])).toEqual([
    [1, 2, 3],
    [3, 2, 1],
    [1, null, 2],
  ]);
});

test("values are shown in one line", () => {
  expect([0.1 + 0.2, 20000, 1999, "x", [1], null, true].map(shown)).toEqual([
    "0.3",
    "20,000",
    "1999",
    "x",
    "[1]",
    "null",
    "true",
  ]);
});
