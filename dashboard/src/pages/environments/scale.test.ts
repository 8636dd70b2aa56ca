import { describe, expect, it } from "vitest";
import { parts, treemap } from "./scale";

const size = (each: number) => each;

describe("parts", () => {
  it("are in order of size, with what cannot be seen as one", () => {
    const { seen, rest } = parts([1, 600, 2, 397], size, 0.01);
    expect(seen.map((each) => [each.size, each.share])).toEqual([
      [600, 0.6],
      [397, 0.397],
    ]);
    expect(rest).toEqual({ items: [2, 1], size: 3, share: 0.003 });
  });

  it("are none of nothing", () => {
    expect(parts([0, 0], size)).toEqual({ seen: [], rest: { items: [], size: 0, share: 0 } });
    expect(parts([], size).seen).toEqual([]);
  });
});

describe("treemap", () => {
  const sizes = [6, 6, 4, 3, 2, 2, 1, 0];
  const placed = treemap(sizes, size, 6, 4);

  it("gives each an area as its size, and leaves out what has none", () => {
    expect(placed).toHaveLength(7);
    for (const each of placed) expect(each.width * each.height).toBeCloseTo(each.size);
  });

  it("stays in its box without overlaps", () => {
    for (const each of placed) {
      expect(each.x).toBeGreaterThanOrEqual(0);
      expect(each.y).toBeGreaterThanOrEqual(0);
      expect(each.x + each.width).toBeLessThanOrEqual(6 + 1e-9);
      expect(each.y + each.height).toBeLessThanOrEqual(4 + 1e-9);
      for (const other of placed) {
        if (other === each) continue;
        const wide = Math.min(each.x + each.width, other.x + other.width) - Math.max(each.x, other.x);
        const high = Math.min(each.y + each.height, other.y + other.height) - Math.max(each.y, other.y);
        expect(Math.min(wide, high)).toBeLessThanOrEqual(1e-9);
      }
    }
  });

  it("makes them as square as the paper that it is from", () => {
    const worst = Math.max(
      ...placed.map((each) => Math.max(each.width / each.height, each.height / each.width)),
    );
    expect(worst).toBeLessThan(3);
  });

  it("is empty without sizes or room", () => {
    expect(treemap([], size, 6, 4)).toEqual([]);
    expect(treemap([0], size, 6, 4)).toEqual([]);
  });
});
