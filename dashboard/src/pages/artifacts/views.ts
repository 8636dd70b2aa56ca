import type { Source } from "./addresses";
import type { ArtifactFiles } from "./queries";

export type Kind = "table" | "items" | "json" | "markdown" | "csv" | "page" | "picture" | "text";

/** One way to look at what is in an artifact. */
export type View = {
  id: string; // in the address
  label: string;
  kind: Kind;
  source: Source;
  file: string;
  size: number; // bytes
};

const ENDINGS = new Map<string, Kind>(
  Object.entries({
    html: "page",
    htm: "page",
    md: "markdown",
    csv: "csv",
    tsv: "csv",
    json: "json",
    png: "picture",
    jpg: "picture",
    jpeg: "picture",
    gif: "picture",
    webp: "picture",
    avif: "picture",
    bmp: "picture",
    svg: "picture",
    txt: "text",
    log: "text",
    jsonl: "text",
    yaml: "text",
    yml: "text",
    toml: "text",
    xml: "text",
    py: "text",
    sql: "text",
    ini: "text",
  } satisfies Record<string, Kind>),
);
// What the one file of a value is called, which has no name of its own.
const VALUES: Record<Kind, string> = {
  table: "table",
  items: "items",
  json: "value",
  markdown: "Markdown",
  csv: "table",
  page: "page",
  picture: "picture",
  text: "text",
};
const MOST = 60; // of a folder of pictures, what is shown as tabs

/** How a file is looked at, by its name; undefined where it is only downloaded. */
export function kindOf(name: string): Kind | undefined {
  const last = name.slice(name.lastIndexOf("/") + 1).toLowerCase();
  return last.includes(".") ? ENDINGS.get(last.slice(last.lastIndexOf(".") + 1)) : undefined;
}

/**
 * Everything that can be looked at, the most telling first: what somebody made to be looked at, except what the server
 * shows better itself; then the values.
 */
export function viewsOf(told: ArtifactFiles, length: number | null | undefined): View[] {
  const files = (told.files ?? []).filter((each) => !each.problem && !each.link);
  const looks = told.visualizations ?? [];
  const tables = new Set(told.tables ?? []);
  const found: View[] = [];
  if (length !== null && length !== undefined)
    found.push({ id: "items", label: "items", kind: "items", source: "files", file: "items.jsonl", size: 0 });
  for (const file of tables) {
    const size = files.find((each) => each.name === file)?.size ?? 0;
    const folder = file.slice(0, Math.max(0, file.lastIndexOf("/")));
    const label = file.endsWith("frame.json") ? folder || "table" : file === "value.npy" ? "table" : file;
    found.push({ id: file, label, kind: "table", source: "files", file, size });
  }
  const seen = new Set<string>();
  const add = (source: Source, file: string, size: number) => {
    const kind = kindOf(file);
    if (!kind || seen.has(`${file} ${size}`)) return; // a text of HTML lies in the artifact, and beside it
    seen.add(`${file} ${size}`);
    const label = /^value\.\w+$/.test(file) ? VALUES[kind] : file.replace(/^content\//, "");
    found.push({ id: `${source}/${file}`, label, kind, source, file, size });
  };
  // What materializers draw of a frame or an array is less than the table above.
  const drawn = new Set(tables.size > 0 ? ["frame.html", "array.html"] : []);
  for (const each of looks) if (!drawn.has(each.name)) add("visualizations", each.name, each.size);
  const inFrames = [...tables]
    .filter((each) => each.endsWith("frame.json"))
    .map((each) => each.slice(0, each.lastIndexOf("/") + 1));
  for (const each of files) {
    if (tables.has(each.name) || (each.name === "items.jsonl" && length !== null && length !== undefined))
      continue;
    if (
      inFrames.some((folder) => each.name.startsWith(folder) && !each.name.slice(folder.length).includes("/"))
    )
      continue;
    add("files", each.name, each.size);
  }
  for (const each of looks) if (drawn.has(each.name)) add("visualizations", each.name, each.size);
  return found.slice(0, MOST);
}
