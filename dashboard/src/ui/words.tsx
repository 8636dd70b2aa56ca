/** A text of tilth's, whose names and commands stand in backquotes. */
export function Words({ children }: { children: string }) {
  return children.split("`").map((each, at) =>
    at % 2 ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text never change places
      <code key={at}>{each}</code>
    ) : (
      each
    ),
  );
}
