import { describe, expect, it } from "vitest";
import { Matcher, marked, plain, spans } from "./ansi";

const ESC = "\x1b";

describe("colours", () => {
  it("are those of the sixteen, bright and dark, until they are taken back", () => {
    const found = spans(`a${ESC}[31mb${ESC}[1;92mc${ESC}[0md`);
    expect(found.map((each) => [each.text, each.colour, each.className])).toEqual([
      ["a", undefined, ""],
      ["b", "var(--ansi-1)", ""],
      ["c", "var(--ansi-10)", "font-bold"],
      ["d", undefined, ""],
    ]);
  });

  it.each([
    ["38;5;196", "#ff0000"],
    ["38;5;3", "var(--ansi-3)"],
    ["38;5;244", "#808080"],
    ["38;2;1;2;3", "#010203"],
    ["38:2::1:2:3", "#010203"],
    ["38;2;999;0;0", "#ff0000"],
  ])("of 256 and of 16 million are known: %s", (code, colour) => {
    expect(spans(`${ESC}[${code};44mx`)[0]?.colour).toBe(colour);
  });

  it("of a program's own choice are made readable where it chose no ground for them", () => {
    expect(spans(`${ESC}[38;2;1;2;3mx`)[0]?.colour).toMatch(/^oklch\(from #010203 clamp/);
    expect(spans(`${ESC}[34mx`)[0]?.colour).toBe("var(--ansi-4)");
  });

  it("change places when they are inverse", () => {
    const [found] = spans(`${ESC}[7;34mx`);
    expect([found?.colour, found?.background]).toEqual(["var(--surface)", "var(--ansi-4)"]);
  });

  it("that make no sense change nothing", () => {
    for (const code of ["38", "38;9;1", "38;5;999", "1000", ";;;", "?25", "38;2"])
      expect(spans(`${ESC}[${code}mx`).map((each) => each.text)).toEqual(["x"]);
  });
});

describe("what else a terminal would obey", () => {
  it.each([
    `${ESC}[2J${ESC}[1;1Hx`,
    `${ESC}]0;title\x07x`,
    `${ESC}]8;;https://evil.example${ESC}\\x${ESC}]8;;${ESC}\\`,
    `${ESC}Pq#0${ESC}\\x`,
    `${ESC}cx`,
    `x${ESC}`,
    "\x00\x07x\x7f",
  ])("is left out: %j", (text) => {
    expect(
      spans(text)
        .map((each) => each.text)
        .join(""),
    ).toBe("x");
    expect(plain(text)).toBe("x");
  });

  it("is text where it is none", () => {
    expect(plain("<script>alert(1)</script>\t[31m")).toBe("<script>alert(1)</script>\t[31m");
  });
});

describe("a search", () => {
  it("takes no account of case, nor of colours within", () => {
    const matcher = new Matcher("ERROR: no");
    const line = `${ESC}[31mError${ESC}[0m: NO way`;
    expect(matcher.holds(plain(line))).toBe(true);
    expect(marked(spans(line), matcher).map((each) => [each.text, each.mark ?? false])).toEqual([
      ["Error", true],
      [": NO", true],
      [" way", false],
    ]);
  });

  it("is for an expression between slashes", () => {
    const matcher = new Matcher("/loss=\\d+/");
    expect(matcher.holds("loss=12")).toBe(true);
    expect(matcher.holds("loss=x")).toBe(false);
    expect(matcher.ranges("loss=1 loss=22")).toEqual([
      [0, 6],
      [7, 14],
    ]);
    expect(matcher.holds("loss=12")).toBe(true); // again: it does not remember where it was
  });

  it("says what is wrong with an expression, and finds nothing", () => {
    const matcher = new Matcher("/(/");
    expect(matcher.error).toMatch(/Unterminated|Invalid/);
    expect(matcher.holds("(")).toBe(false);
    expect(matcher.ranges("(")).toEqual([]);
  });

  it("for an empty match marks nothing, and ends", () => {
    expect(new Matcher("/x*/").ranges("aaa")).toEqual([]);
  });
});
