import { describe, expect, it } from "vitest";
import { lineOf, nextMatch, ROW, scrollTo, tall, topLine } from "./place";

describe("a list of lines", () => {
  it.each([10, 1000, 1_000_000, 50_000_000])("of %i has its first and last within reach", (lines) => {
    const most = tall(lines, 600) - 600;
    expect(tall(lines, 600)).toBeLessThanOrEqual(12_000_000);
    expect(topLine(0, lines, 600)).toBe(0);
    expect(topLine(most, lines, 600)).toBeCloseTo(Math.max(0, lines - 600 / ROW), 3);
  });

  it.each([1000, 1_000_000, 50_000_000])("of %i comes to any line", (lines) => {
    for (const line of [0, 1, 500, lines / 2, lines - 100])
      expect(topLine(scrollTo(line, lines, 600), lines, 600)).toBeCloseTo(line, 2);
  });

  it("that is short does not scroll", () => {
    expect(tall(3, 600)).toBe(600);
    expect(topLine(100, 3, 600)).toBe(0);
    expect(scrollTo(2, 3, 600)).toBe(0);
  });
});

describe("matches", () => {
  const found = Uint32Array.from([2, 5, 9, 0, 0]); // with room for more
  it("are gone through in both directions, and round", () => {
    expect(nextMatch(found, 3, -1, false)).toBe(0);
    expect(nextMatch(found, 3, 2, false)).toBe(1);
    expect(nextMatch(found, 3, 9, false)).toBe(0);
    expect(nextMatch(found, 3, 9, true)).toBe(1);
    expect(nextMatch(found, 3, 2, true)).toBe(2);
    expect(nextMatch(found, 0, 2, true)).toBe(-1);
  });
});

it("an address names a line, or none", () => {
  expect(lineOf("#L12")).toBe(11);
  expect(lineOf("L1")).toBe(0);
  for (const hash of ["", "#", "#Lx", "#page", "#L0x", "#L99999999999"]) expect(lineOf(hash)).toBe(-1);
});
