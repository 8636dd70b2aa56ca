import { expect, test } from "vitest";
import { pathOf } from "./lineage-layout";

test("a path goes along its points, with round corners that never pass the middle", () => {
  expect(pathOf([])).toBe("");
  expect(
    pathOf([
      { x: 0, y: 0 },
      { x: 10, y: 0 },
    ]),
  ).toBe("M 0 0 L 10 0");
  expect(
    pathOf(
      [
        { x: 0, y: 0 },
        { x: 20, y: 0 },
        { x: 20, y: 4 },
        { x: 40, y: 4 },
      ],
      8,
    ),
  ).toBe("M 0 0 L 12 0 Q 20 0 20 2 L 20 2 Q 20 4 28 4 L 40 4");
});
