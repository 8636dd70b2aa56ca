/** What a form finds wrong itself, by field; the form says it beside each. */
export class Wrong extends Error {
  constructor(readonly fields: Record<string, string>) {
    super(Object.values(fields).join(" "));
  }
}

/**
 * The field that an error of the server is of: the first whose name its summary has in backquotes, else the first that
 * holds what it quotes.
 */
export function fieldOf(
  summary: string,
  known: ReadonlySet<string>,
  values: Readonly<Record<string, string>> = {},
): string {
  const quoted = [...summary.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? "");
  const named = quoted.find((each) => known.has(each));
  if (named) return named;
  return [...known].find((each) => quoted.includes((values[each] ?? "").trim())) ?? "";
}
