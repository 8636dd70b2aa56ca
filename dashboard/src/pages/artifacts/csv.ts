/** The first rows of comma-separated values, as RFC 4180 has them; what is cut off at the end is left out. */
export function readCsv(text: string, whole: boolean, most = 1000): { rows: string[][]; cut: boolean } {
  const separator = separatorOf(text);
  const rows: string[][] = [];
  let row: string[] = [];
  let at = text.startsWith("\ufeff") ? 1 : 0;
  while (at < text.length) {
    if (rows.length >= most) return { rows, cut: true };
    let field: string;
    if (text[at] === '"') {
      let end = at + 1;
      while (end < text.length && !(text[end] === '"' && text[end + 1] !== '"'))
        end += text[end] === '"' ? 2 : 1;
      if (end >= text.length && !whole) return { rows, cut: true };
      field = text.slice(at + 1, end).replaceAll('""', '"');
      at = end + 1;
    } else {
      field = "";
    }
    const rest = new RegExp(`[^${separator}\\r\\n]*`, "y");
    rest.lastIndex = at;
    const more = rest.exec(text)?.[0] ?? "";
    field += more;
    at += more.length;
    row.push(field);
    if (at >= text.length) {
      if (whole) rows.push(row);
      return { rows, cut: !whole };
    }
    if (text[at] === separator) {
      at += 1;
      if (at >= text.length && whole) rows.push([...row, ""]);
      continue;
    }
    at += text[at] === "\r" && text[at + 1] === "\n" ? 2 : 1;
    rows.push(row);
    row = [];
  }
  return { rows, cut: !whole };
}

function separatorOf(text: string): string {
  const line = text.slice(0, text.search(/[\r\n]|$/));
  const counts = [",", ";", "\t"].map((each) => [line.split(each).length, each] as const);
  return counts.reduce((best, each) => (each[0] > best[0] ? each : best))[1];
}
