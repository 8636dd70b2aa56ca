/** Packages of several environments side by side: pure, so that it can be tested. */

export type Column = { key: string; packages: ReadonlyArray<{ name: string; version: string }> };

/** How far the versions of one package are apart: the first part of them that is not alike. */
export type Distance = "major" | "minor" | "patch" | "other";

export type Row = {
  name: string;
  versions: Array<string | null>; // by column; null: it is not in there
  kind: "differs" | "same" | "alone"; // in several in unlike versions, in several alike, in one
  distance: Distance | null; // of those that differ
  groups: Array<number | null>; // by column: equal numbers are equal versions
};

/** One row for each package of any column: those that differ first, the widest apart before others. */
export function matrix(columns: ReadonlyArray<Column>): Row[] {
  const byName = new Map<string, Array<string | null>>();
  columns.forEach((column, at) => {
    for (const { name, version } of column.packages) {
      let row = byName.get(name);
      if (!row) {
        row = columns.map(() => null);
        byName.set(name, row);
      }
      row[at] = version;
    }
  });
  return [...byName].map(([name, versions]) => rowOf(name, versions)).sort(compareRows);
}

function rowOf(name: string, versions: Array<string | null>): Row {
  const there = versions.filter((each) => each !== null);
  const distinct = [...new Set(there)];
  const kind = there.length < 2 ? "alone" : distinct.length > 1 ? "differs" : "same";
  return {
    name,
    versions,
    kind,
    distance: kind === "differs" ? distanceOf(distinct) : null,
    groups: versions.map((each) => (each === null ? null : distinct.indexOf(each))),
  };
}

const FAR: Distance[] = ["major", "minor", "patch", "other"];
const KINDS: Row["kind"][] = ["differs", "same", "alone"];

function compareRows(one: Row, other: Row): number {
  return (
    KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind) ||
    rank(one.distance) - rank(other.distance) ||
    (one.name < other.name ? -1 : 1)
  );
}

function rank(distance: Distance | null): number {
  return distance === null ? FAR.length : FAR.indexOf(distance);
}

/** The widest distance between any two of these versions (PEP 440: the release, after an epoch). */
export function distanceOf(versions: ReadonlyArray<string>): Distance {
  const parts = versions.map(release);
  for (const [at, name] of (["major", "minor", "patch"] as const).entries()) {
    if (new Set(parts.map((each) => each[at] ?? 0)).size > 1) return name;
  }
  return "other";
}

function release(version: string): number[] {
  const [, epoch, rest] = version.match(/^v?(?:(\d+)!)?(.*)$/s) ?? [];
  const numbers =
    rest
      ?.match(/^\d+(?:\.\d+)*/)?.[0]
      .split(".")
      .map(Number) ?? [];
  // Versions of another epoch are as far apart as can be.
  return [(numbers[0] ?? 0) + Number(epoch ?? 0) * 1e9, ...numbers.slice(1, 2), ...numbers.slice(2, 3)];
}

/** Rows of a kind whose names have a text in them. */
export function chosen(rows: ReadonlyArray<Row>, show: Row["kind"] | "all", text: string): Row[] {
  const wanted = text.trim().toLowerCase();
  return rows.filter(
    (each) => (show === "all" || each.kind === show) && (!wanted || each.name.toLowerCase().includes(wanted)),
  );
}

/** How many rows there are of each kind. */
export function counts(rows: ReadonlyArray<Row>): Record<Row["kind"], number> {
  const found = { differs: 0, same: 0, alone: 0 };
  for (const each of rows) found[each.kind] += 1;
  return found;
}
