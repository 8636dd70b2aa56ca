/** What a form finds wrong itself, by field; the form says it beside each. */
export class Wrong extends Error {
  constructor(readonly fields: Record<string, string>) {
    super(Object.values(fields).join(" "));
  }
}

/** The field that an error of the server is of: the first known name that its summary has in backquotes. */
export function fieldOf(summary: string, known: ReadonlySet<string>): string {
  for (const [, quoted] of summary.matchAll(/`([^`]+)`/g)) {
    if (quoted && known.has(quoted)) return quoted;
  }
  return "";
}
