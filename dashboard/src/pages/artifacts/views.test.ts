import { expect, test } from "vitest";
import type { ArtifactFiles } from "./queries";
import { kindOf, viewsOf } from "./views";

const told = (files: string[], more: Partial<ArtifactFiles> = {}): ArtifactFiles => ({
  here: true,
  command: "",
  files: files.map((name) => ({ name, size: 5 })),
  ...more,
});

test("a file is looked at by how its name ends", () => {
  expect(kindOf("a/b.PNG")).toBe("picture");
  expect(kindOf("x.html")).toBe("page");
  expect(kindOf("png")).toBeUndefined();
  expect(kindOf("a.b/c")).toBeUndefined();
  expect(kindOf("model.pickle")).toBeUndefined();
  expect(kindOf("constructor.constructor")).toBeUndefined();
  expect(kindOf("x.toString")).toBeUndefined();
});

test("a frame is a table first, and its columns are no views of their own", () => {
  const found = viewsOf(
    told(["0.npy", "1.json", "frame.json"], {
      tables: ["frame.json"],
      visualizations: [
        { name: "frame.html", size: 1 },
        { name: "own.png", size: 2 },
      ],
    }),
    null,
  );
  expect(found.map((each) => each.label)).toEqual(["table", "own.png", "frame.html"]);
});

test("a text that lies in the artifact and beside it is one view", () => {
  const found = viewsOf(told(["value.md"], { visualizations: [{ name: "value.md", size: 5 }] }), null);
  expect(found.map((each) => [each.label, each.source])).toEqual([["Markdown", "visualizations"]]);
});

test("parts of a value that are tables stand beside its JSON", () => {
  const found = viewsOf(
    told(["value.json", "parts/0/frame.json", "parts/0/0.npy", "parts/1/value.npy"], {
      tables: ["parts/0/frame.json", "parts/1/value.npy"],
    }),
    null,
  );
  expect(found.map((each) => each.label)).toEqual(["parts/0", "parts/1/value.npy", "value"]);
});

test("a collection has its items, an empty one too", () => {
  expect(viewsOf(told(["items.jsonl", "packed.bin"]), 0).map((each) => each.kind)).toEqual(["items"]);
});

test("what is broken or a link is not opened", () => {
  const files = [
    { name: "a.png", size: 1, problem: "missing" },
    { name: "b.png", size: 1, link: "/etc/passwd" },
  ];
  expect(viewsOf(told([], { files }), null)).toEqual([]);
});

test("a folder of a thousand pictures has some of them as views", () => {
  expect(viewsOf(told(Array.from({ length: 1000 }, (_, at) => `${at}.png`)), null).length).toBe(60);
});
