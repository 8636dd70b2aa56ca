import { describe, expect, it } from "vitest";
import { came, drawn, longest, stored } from "./layers";

const layer = (digest: string, size: number, way = "sent") => ({ digest, size, title: digest, way });
const images = [
  { key: "train", layers: [layer("base", 50, "skipped"), layer("numpy", 20), layer("scipy", 40)] },
  { key: "prepare", layers: [layer("base", 50, "mounted"), layer("numpy", 20, "skipped")] },
];

describe("layers", () => {
  it("are told with who shares them, and where they begin", () => {
    expect(drawn(images).get("train")).toMatchObject([
      { title: "base", sharedWith: ["prepare"], start: 0 },
      { title: "numpy", sharedWith: ["prepare"], start: 50 },
      { title: "scipy", sharedWith: [], start: 70 },
    ]);
  });

  it("are stored once", () => {
    expect(stored(images)).toEqual({ total: 180, once: 110, saved: 70, sent: 60 });
    expect(stored([])).toEqual({ total: 0, once: 0, saved: 0, sent: 0 });
  });

  it("that an image has twice are shared with nobody", () => {
    expect(drawn([{ key: "a", layers: [layer("x", 1), layer("x", 1)] }]).get("a")?.[1]?.sharedWith).toEqual(
      [],
    );
  });

  it("are drawn to the scale of the longest image", () => {
    expect(longest(images)).toBe(110);
    expect(longest([])).toBe(0);
  });

  it("came by the wire or were there", () => {
    expect(["sent", "copied", "mounted", "skipped", "", undefined].map(came)).toEqual([
      "sent",
      "sent",
      "there",
      "there",
      "",
      "",
    ]);
  });
});
