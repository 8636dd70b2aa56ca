import { expect, test } from "vitest";
import { CUT, type Part, readPart, tagOf } from "./json-part";

function plain(value: Part): unknown {
  if (value === CUT) return "<cut>";
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, each]) => [key, plain(each)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

const VALUES = [
  null,
  true,
  -1.5e300,
  "",
  'a "quoted" \\ \n \u2028 ü 日本 \ud83d\ude00',
  [],
  {},
  [1, [2, [3]], { a: [] }],
  { a: { b: { c: [1, "x", null] } }, "": 0, "\u0000": false },
];

test.each(VALUES.map((each) => [each]))("a whole value is what it was: %j", (value) => {
  for (const text of [JSON.stringify(value), JSON.stringify(value, null, 2)]) {
    const read = readPart(text, true);
    expect([plain(read.value), read.cut, read.wrong]).toEqual([value, false, false]);
  }
});

test("every beginning of a value is read, and none is taken for all of it", () => {
  const text = JSON.stringify(VALUES);
  for (let end = 0; end < text.length; end += 1) {
    const read = readPart(text.slice(0, end), false);
    expect([read.wrong, read.cut], text.slice(0, end)).toEqual([false, true]);
    expect(readPart(text.slice(0, end), true).wrong, text.slice(0, end)).toBe(true);
  }
});

test("what came before the cut is there", () => {
  expect(plain(readPart('{"a": [1, 23', false).value)).toEqual({ a: [1, "<cut>"] });
  expect(plain(readPart('{"a": "half', false).value)).toEqual({ a: "half…" });
  expect(plain(readPart('{"a": "half\\u00', false).value)).toEqual({ a: "half…" });
});

test.each(["{a: 1}", "[1,]", "[1 2]", "nul", '{"a" 1}', "1 2", "", "\u0000", "'a'"])(
  "what is no JSON says so: %s",
  (text) => {
    expect(readPart(text, true).wrong).toBe(true);
  },
);

test("names of objects are nothing but names", () => {
  const { value } = readPart('{"__proto__": {"polluted": 1}, "constructor": 2}', true);
  expect(value instanceof Map && [...value.keys()]).toEqual(["__proto__", "constructor"]);
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test("what is nested without end is refused, not followed", () => {
  expect(readPart("[".repeat(1_000_000), false).wrong).toBe(true);
});

test("large numbers keep their digits", () => {
  expect(readPart("[9007199254740993]", true).value).toEqual(["9007199254740993"]);
});

test("tags of Python's values are told from dicts", () => {
  expect(tagOf(readPart('{"$tuple": [1]}', true).value)).toEqual({ tag: "tuple", payload: [1] });
  expect(tagOf(readPart('{"$a": 1, "$b": 2}', true).value)).toBeUndefined();
});
