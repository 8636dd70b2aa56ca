import { describe, expect, it } from "vitest";
import { Lines, parseLine } from "./lines";

const encode = (text: string) => new TextEncoder().encode(text);

function held(text: string, part: number): Lines {
  const lines = new Lines();
  const bytes = encode(text);
  for (let at = 0; at < bytes.length; at += part) lines.append(bytes.slice(at, at + part));
  return lines;
}

describe("lines", () => {
  it.each([1, 2, 3, 7, 1000])("are found however the bytes come: %i at a time", (part) => {
    const lines = held("one\n\nzwölf € 🌱\nlast", part);
    expect(lines.count()).toBe(3);
    expect(lines.count(true)).toBe(4);
    expect(lines.raw(0, 9)).toEqual(["one", "", "zwölf € 🌱", "last"]);
    expect(lines.raw(2, 3)).toEqual(["zwölf € 🌱"]);
    expect(lines.raw(7, 9)).toEqual([]);
  });

  it("go over the seams of what is kept", () => {
    const long = "x".repeat(700_000);
    const lines = held(`${long}\n${long}\n${long}\nend\n`, 65_536);
    expect(lines.count()).toBe(4);
    expect(lines.raw(1, 4, 1_000_000)).toEqual([long, long, "end"]);
  });

  it("that are very long are cut, and say so", () => {
    const lines = held(`${"x".repeat(5_000_000)}\nend\n`, 1 << 16);
    const [first, second] = lines.raw(0, 2);
    expect(first).toMatch(/^x{20000} … \(cut here/);
    expect(second).toBe("end");
  });

  it("by the million are indexed and read at any place", () => {
    const lines = new Lines();
    for (let block = 0; block < 1000; block += 1)
      lines.append(encode(Array.from({ length: 1000 }, (_, at) => `line ${block * 1000 + at}\n`).join("")));
    expect(lines.count()).toBe(1_000_000);
    for (const at of [0, 1, 54_321, 999_999]) expect(lines.raw(at, at + 1)).toEqual([`line ${at}`]);
  });

  it("end in one that is not whole until more comes", () => {
    const lines = held("a\nb", 10);
    expect(lines.count()).toBe(1);
    lines.append(encode("c\n"));
    expect(lines.raw(0, lines.count())).toEqual(["a", "bc"]);
  });

  it("that are no UTF-8 are shown all the same", () => {
    const lines = new Lines();
    lines.append(new Uint8Array([0x61, 0xff, 0x0a]));
    expect(lines.raw(0, 1)).toEqual(["a\ufffd"]);
  });
});

describe("a line", () => {
  it("has a time, a stream and a text", () => {
    expect(parseLine("2026-03-01T06:30:00.123+00:00 E a b")).toEqual({
      time: "2026-03-01T06:30:00.123+00:00",
      error: true,
      text: "a b",
    });
    expect(parseLine("2026-03-01T06:30:00.123+00:00 O ").text).toBe("");
  });

  it.each(["", "just text", "2026-03-01T06:30:00.123+00:00 X a", " O a"])(
    "that is of another form is its text: %s",
    (text) => {
      expect(parseLine(text)).toEqual({ time: "", error: false, text });
    },
  );
});
