import { Fragment } from "react";

/** A text of tilth's, with what stands in backquotes as code. */
export function Ticked({ children }: { children: string }) {
  const parts = children.split("`");
  // Without a partner the last one is a backquote of the text's own.
  if (parts.length % 2 === 0) parts.push(`${parts.splice(-2, 1)[0]}\`${parts.pop() ?? ""}`);
  return parts.map((part, at) =>
    at % 2 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: they have nothing else, and never move
      <code key={at} className="break-words">
        {part}
      </code>
    ) : (
      // biome-ignore lint/suspicious/noArrayIndexKey: they have nothing else, and never move
      <Fragment key={at}>{part}</Fragment>
    ),
  );
}
