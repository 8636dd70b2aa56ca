import { Link } from "@tanstack/react-router";
import clsx from "clsx";
import { ShieldAlert } from "lucide-react";
import { useMemo, useState } from "react";
import { Button } from "@/ui/button";
import { Card } from "@/ui/card";
import { count } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Badge, type Tone } from "@/ui/state";
import { chosen, counts, type Distance, matrix, type Row } from "./matrix";
import { keyOf, VERSION_TONES, vulnerabilities } from "./parts";
import type { Passed } from "./queries";

const FIRST = 60; // rows drawn before somebody wants all
const TONES: Record<Distance, Tone> = { major: "bad", minor: "wait", patch: "calm", other: "calm" };

export type Show = "differs" | "same" | "alone" | "all";

/** Packages by environments: which version each has, with equal versions in one colour. */
export function MatrixView({
  project,
  environments,
  columns,
  onColumns,
  show,
  onShow,
  text,
  onText,
}: {
  project: string;
  environments: Passed[];
  columns: string[]; // keys of those that are shown
  onColumns: (keys: string[]) => void;
  show: Show;
  onShow: (show: Show) => void;
  text: string;
  onText: (text: string) => void;
}) {
  const [all, setAll] = useState(false);
  const picked = environments.filter((each) => columns.includes(keyOf(each)));
  const rows = useMemo(
    () =>
      matrix(
        environments
          .filter((each) => columns.includes(keyOf(each)))
          .map((each) => ({ key: keyOf(each), packages: each.packages })),
      ),
    [environments, columns],
  );
  const many = counts(rows);
  const kept = chosen(rows, show, text);
  const drawn = all ? kept : kept.slice(0, FIRST);
  const bad = new Map(
    picked.map((each) => [keyOf(each), new Set(vulnerabilities(each.check).map((found) => found.package))]),
  );
  const pythons = [...new Set(picked.map((each) => minor(each.python)))];

  return (
    <Card
      flush
      title="Packages side by side"
      actions={<SearchField value={text} onChange={onText} label="Search packages" className="w-48" />}
    >
      <div className="flex flex-wrap items-center gap-x-4 gap-y-2 border-b border-line px-4 py-2">
        <fieldset className="flex flex-wrap gap-1">
          <legend className="sr-only">which packages</legend>
          {(
            [
              ["differs", `differ (${count(many.differs)})`],
              ["same", `shared alike (${count(many.same)})`],
              ["alone", `in one only (${count(many.alone)})`],
              ["all", `all (${count(rows.length)})`],
            ] as Array<[Show, string]>
          ).map(([id, label]) => (
            <Button
              key={id}
              small
              look={show === id ? "primary" : "quiet"}
              aria-pressed={show === id}
              onClick={() => onShow(id)}
            >
              {label}
            </Button>
          ))}
        </fieldset>
        <fieldset className="flex flex-wrap items-center gap-x-3 gap-y-1 text-xs text-muted">
          <legend className="sr-only">which environments</legend>
          {environments.map((each) => {
            const key = keyOf(each);
            return (
              <label key={key} className="flex items-center gap-1.5">
                <input
                  type="checkbox"
                  className="size-3.5 accent-(--accent)"
                  checked={columns.includes(key)}
                  onChange={(event) =>
                    onColumns(
                      environments
                        .map(keyOf)
                        .filter((one) => (one === key ? event.target.checked : columns.includes(one))),
                    )
                  }
                />
                {each.name}
              </label>
            );
          })}
        </fieldset>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <div className="max-h-[70vh] overflow-auto rounded-b-lg" tabIndex={0}>
        <table className="w-full border-separate border-spacing-0 text-sm">
          <caption className="sr-only">
            Versions of packages in {picked.map((each) => each.name).join(", ")}
          </caption>
          <thead className="sticky top-0 z-20 bg-surface text-xs">
            <tr>
              <th
                scope="col"
                className="sticky left-0 z-10 border-b border-line bg-surface px-4 py-2 text-left font-medium text-muted"
              >
                package
              </th>
              {picked.map((each) => (
                <th
                  key={keyOf(each)}
                  scope="col"
                  className="border-b border-line px-2 py-2 text-left font-medium whitespace-nowrap"
                >
                  <span className="block text-[11px] font-normal text-muted">{each.role}</span>
                  {each.digest ? (
                    <Link
                      to="/p/$project/environments/$digest"
                      params={{ project, digest: each.digest }}
                      className="hover:underline"
                    >
                      {each.name}
                    </Link>
                  ) : (
                    each.name
                  )}
                </th>
              ))}
              <th scope="col" className="border-b border-line px-2 py-2 text-left font-medium text-muted">
                apart by
              </th>
            </tr>
          </thead>
          <tbody>
            <tr>
              <th
                scope="row"
                className="sticky left-0 z-10 border-b border-line bg-surface px-4 py-1.5 text-left font-medium"
              >
                Python
              </th>
              {picked.map((each) => (
                <td key={keyOf(each)} className="border-b border-line px-2 py-1.5">
                  <Version
                    text={each.python}
                    group={pythons.length > 1 ? pythons.indexOf(minor(each.python)) : null}
                  />
                </td>
              ))}
              <td className="border-b border-line px-2 py-1.5">
                {pythons.length > 1 && <Badge tone="wait">minor</Badge>}
              </td>
            </tr>
            {drawn.map((row) => (
              <MatrixRow key={row.name} row={row} picked={picked} bad={bad} />
            ))}
          </tbody>
        </table>
        {kept.length === 0 && (
          <p className="px-4 py-6 text-center text-sm text-muted">
            {text
              ? `No package here has “${text}” in its name.`
              : show === "differs"
                ? "No package is in two of these environments in different versions."
                : "There are none."}
          </p>
        )}
        {drawn.length < kept.length && (
          <div className="p-3 text-center">
            <Button small onClick={() => setAll(true)}>
              Show all {count(kept.length)}
            </Button>
          </div>
        )}
      </div>
    </Card>
  );
}

function MatrixRow({
  row,
  picked,
  bad,
}: {
  row: Row;
  picked: Passed[];
  bad: Map<string, Set<string | undefined>>;
}) {
  return (
    <tr className="group">
      <th
        scope="row"
        className="sticky left-0 z-10 max-w-56 truncate border-b border-line bg-surface px-4 py-1.5 text-left font-normal group-hover:bg-sunken"
        title={row.name}
      >
        {row.name}
      </th>
      {picked.map((each, at) => {
        const version = row.versions[at];
        return (
          <td key={keyOf(each)} className="border-b border-line px-2 py-1.5 group-hover:bg-sunken">
            {version === null || version === undefined ? (
              <span className="text-muted">
                <span aria-hidden>·</span>
                <span className="sr-only">not in it</span>
              </span>
            ) : (
              <span className="inline-flex items-center gap-1">
                <Version text={version} group={row.kind === "differs" ? (row.groups[at] ?? null) : null} />
                {bad.get(keyOf(each))?.has(row.name) && (
                  <ShieldAlert className="size-4 shrink-0 text-bad" aria-label="has a known vulnerability" />
                )}
              </span>
            )}
          </td>
        );
      })}
      <td className="border-b border-line px-2 py-1.5 group-hover:bg-sunken">
        {row.distance && <Badge tone={TONES[row.distance]}>{row.distance}</Badge>}
      </td>
    </tr>
  );
}

function Version({ text, group }: { text: string; group: number | null }) {
  return (
    <code
      className={clsx(
        "inline-block max-w-40 truncate rounded px-1.5 py-0.5 align-bottom whitespace-nowrap",
        group !== null && ["font-medium", VERSION_TONES[group % VERSION_TONES.length]],
      )}
      title={text}
    >
      {text || "unknown"}
    </code>
  );
}

function minor(python: string): string {
  return python.split(".").slice(0, 2).join(".");
}
