/** Where a list of a million lines stands, for a scrollbar that browsers can draw. */

export const ROW = 20; // px of a line that is not wrapped
const TALLEST = 12_000_000; // px; Firefox lays out no more than 17 million, and zooming multiplies

/** How tall the list pretends to be. */
export function tall(lines: number, view: number): number {
  return Math.max(Math.min(lines * ROW, TALLEST), view);
}

/** The line at the top of the view, with a fraction where it is cut. */
export function topLine(scrolled: number, lines: number, view: number): number {
  const most = tall(lines, view) - view;
  if (most <= 0) return 0;
  return (Math.min(Math.max(scrolled, 0), most) / most) * lastTop(lines, view);
}

/** What to scroll to so that a line is at the top. */
export function scrollTo(line: number, lines: number, view: number): number {
  const most = tall(lines, view) - view;
  const last = lastTop(lines, view);
  if (most <= 0 || last <= 0) return 0;
  return (Math.min(Math.max(line, 0), last) / last) * most;
}

/** How many lines a pixel of scrolling is: 1 / ROW unless the list is taller than browsers can draw. */
export function isScaled(lines: number): boolean {
  return lines * ROW > TALLEST;
}

function lastTop(lines: number, view: number): number {
  return Math.max(0, lines - view / ROW);
}

/** The next match from a line on, or the one before it; goes round at the ends. -1: there is none. */
export function nextMatch(found: ArrayLike<number>, count: number, from: number, back: boolean): number {
  if (count === 0) return -1;
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((found[middle] as number) < from + (back ? 0 : 1)) low = middle + 1;
    else high = middle;
  }
  if (back) return low > 0 ? low - 1 : count - 1;
  return low < count ? low : 0;
}

/** `#L12` as 11; -1 for any other hash. */
export function lineOf(hash: string): number {
  const found = /^#?L(\d{1,9})$/.exec(hash);
  return found ? Number(found[1]) - 1 : -1;
}
