import { renderToStaticMarkup } from "react-dom/server";
import { expect, it } from "vitest";
import { Ticked } from "./ticked";

it.each([
  ["source `m` changed", 'source <code class="break-words">m</code> changed'],
  ["`a` and `b`", '<code class="break-words">a</code> and <code class="break-words">b</code>'],
  ["one ` alone", "one ` alone"],
  ["`a` and ` alone", '<code class="break-words">a</code> and ` alone'],
  ["<b>`<i>`", '&lt;b&gt;<code class="break-words">&lt;i&gt;</code>'],
  ["", ""],
])("shows %s", (text, html) => {
  expect(renderToStaticMarkup(<Ticked>{text}</Ticked>)).toBe(html);
});
