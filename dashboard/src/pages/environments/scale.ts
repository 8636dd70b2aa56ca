/** Lengths and areas that are drawn to scale: pure, so that they can be tested. */

export type Part<T> = { item: T; size: number; share: number };

/**
 * Parts of a bar, largest first; what would be too small to see is one part at the end.
 *
 * `least`: of the whole, from 0 to 1.
 */
export function parts<T>(
  items: ReadonlyArray<T>,
  size: (item: T) => number,
  least = 0.01,
): { seen: Part<T>[]; rest: { items: T[]; size: number; share: number } } {
  const sized = items.map((item) => ({ item, size: Math.max(0, size(item)) }));
  const total = sized.reduce((sum, each) => sum + each.size, 0);
  const sorted = sized.filter((each) => each.size > 0).sort((one, other) => other.size - one.size);
  const seen = sorted
    .filter((each) => each.size >= least * total)
    .map((each) => ({ ...each, share: each.size / total }));
  const small = sorted.slice(seen.length);
  const left = small.reduce((sum, each) => sum + each.size, 0);
  return {
    seen,
    rest: { items: small.map((each) => each.item), size: left, share: total ? left / total : 0 },
  };
}

export type Rectangle<T> = { item: T; size: number; x: number; y: number; width: number; height: number };

/**
 * Rectangles whose areas are as their sizes, as square as can be, in a box of this width and height.
 *
 * Source: Bruls, Huizing, van Wijk: Squarified Treemaps (2000).
 */
export function treemap<T>(
  items: ReadonlyArray<T>,
  size: (item: T) => number,
  width: number,
  height: number,
): Rectangle<T>[] {
  const sized = items
    .map((item) => ({ item, size: size(item) }))
    .filter((each) => each.size > 0)
    .sort((one, other) => other.size - one.size);
  const total = sized.reduce((sum, each) => sum + each.size, 0);
  const scale = total ? (width * height) / total : 0;
  const placed: Rectangle<T>[] = [];
  let box = { x: 0, y: 0, width, height };
  let at = 0;
  while (at < sized.length) {
    const side = Math.min(box.width, box.height);
    let end = at + 1;
    let sum = (sized[at]?.size ?? 0) * scale;
    let worst = worstOf(sized, at, end, sum, side, scale);
    while (end < sized.length) {
      const more = sum + (sized[end]?.size ?? 0) * scale;
      const next = worstOf(sized, at, end + 1, more, side, scale);
      if (next > worst) break;
      [worst, sum, end] = [next, more, end + 1];
    }
    const upright = box.width >= box.height; // the row stands at the left, else it lies at the top
    const thick = side > 0 ? sum / side : 0;
    let along = upright ? box.y : box.x;
    for (const each of sized.slice(at, end)) {
      const length = thick > 0 ? (each.size * scale) / thick : 0;
      placed.push(
        upright
          ? { ...each, x: box.x, y: along, width: thick, height: length }
          : { ...each, x: along, y: box.y, width: length, height: thick },
      );
      along += length;
    }
    box = upright
      ? { ...box, x: box.x + thick, width: Math.max(0, box.width - thick) }
      : { ...box, y: box.y + thick, height: Math.max(0, box.height - thick) };
    at = end;
  }
  return placed;
}

/** How far from square the worst of a row is. */
function worstOf(
  sized: ReadonlyArray<{ size: number }>,
  from: number,
  end: number,
  sum: number,
  side: number,
  scale: number,
): number {
  const largest = (sized[from]?.size ?? 0) * scale;
  const smallest = (sized[end - 1]?.size ?? 0) * scale;
  const squared = side * side;
  return Math.max((squared * largest) / (sum * sum), (sum * sum) / (squared * smallest));
}
