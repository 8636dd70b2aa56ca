import { expect, test } from "vitest";
import { readCsv } from "./csv";

test("quotes, separators and line ends are as RFC 4180 has them", () => {
  expect(readCsv('a,"b ""x"", c"\r\n1,"two\nlines"\r\n', true).rows).toEqual([
    ["a", 'b "x", c'],
    ["1", "two\nlines"],
  ]);
});

test("empty fields are fields", () => {
  expect(readCsv("a,,b\n,,\n", true).rows).toEqual([
    ["a", "", "b"],
    ["", "", ""],
  ]);
  expect(readCsv("a,", true).rows).toEqual([["a", ""]]);
  expect(readCsv("", true).rows).toEqual([]);
});

test("semicolons and tabs are found by the first line", () => {
  expect(readCsv("a;b\n1,5;2", true).rows).toEqual([
    ["a", "b"],
    ["1,5", "2"],
  ]);
  expect(readCsv("a\tb\n1\t2\n", true).rows[1]).toEqual(["1", "2"]);
});

test("a row that is cut off is left out", () => {
  expect(readCsv("a,b\n1,2\n3,", false)).toEqual({
    rows: [
      ["a", "b"],
      ["1", "2"],
    ],
    cut: true,
  });
  expect(readCsv('a,b\n1,"2', false).rows).toEqual([["a", "b"]]);
});

test("no more rows are read than are shown", () => {
  const { rows, cut } = readCsv("x\n".repeat(5000), true, 100);
  expect([rows.length, cut]).toEqual([100, true]);
});

test("an unclosed quote does not make a long text endless", () => {
  readCsv(`"${'a,"b'.repeat(200_000)}`, true, 1000);
  readCsv(`${"\n".repeat(200_000)}`, true, 1000);
}, 60_000);
