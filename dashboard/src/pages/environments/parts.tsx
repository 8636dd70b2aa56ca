import { Link } from "@tanstack/react-router";
import clsx from "clsx";
import { ArrowRightLeft, CircleCheck, CircleHelp, GitCompareArrows, ShieldAlert } from "lucide-react";
import { type ReactNode, useId } from "react";
import { ago, exact, plural } from "@/ui/format";
import { Badge } from "@/ui/state";
import type { EnvironmentCheck, Passed } from "./queries";

/** The kinds of environments as this page draws them, in the order that code passes through them. */
export const LANES: Array<{ id: string; title: string; roles: string[]; about: string; none: string }> = [
  {
    id: "client",
    title: "Client",
    roles: ["client"],
    about: "compiles the pipeline, starts the run",
    none: "This run recorded no client: an older tilth started it.",
  },
  {
    id: "execution",
    title: "Execution",
    roles: ["execution"],
    about: "steps run in it",
    none: "Every step runs in the client's environment.",
  },
  {
    id: "server",
    title: "Runner and server",
    roles: ["supervisor", "runner", "server"],
    about: "drives runs, keeps records",
    none: "",
  },
  {
    id: "builder",
    title: "Builder",
    roles: ["builder"],
    about: "builds packages that come as source",
    none: "Every package came as a wheel: nothing had to be built.",
  },
];

/** What an environment is known by on the page: two runs may have two of one name. */
export function keyOf(each: { role: string; name: string; digest: string }): string {
  return `${each.role}:${each.name}`;
}

export const ROLES = ["client", "execution", "supervisor", "runner", "server", "builder"];

export function total(sizes: Record<string, number>): number {
  return Object.values(sizes).reduce((sum, each) => sum + each, 0);
}

export function vulnerabilities(
  check: EnvironmentCheck | null | undefined,
): NonNullable<EnvironmentCheck["findings"]> {
  return (check?.findings ?? []).filter((each) => each.check === "advisories");
}

export function drift(check: EnvironmentCheck | null | undefined): NonNullable<EnvironmentCheck["findings"]> {
  return (check?.findings ?? []).filter((each) => each.check !== "advisories");
}

/** What a check of an environment found, and when; or that nobody has checked it. */
export function CheckMarks({ check }: { check: EnvironmentCheck | null | undefined }) {
  if (!check) {
    return (
      <Badge title="nobody has checked this environment; `tilth env check` does">
        <CircleHelp className="size-3.5" aria-hidden /> not checked
      </Badge>
    );
  }
  const bad = vulnerabilities(check);
  const drifted = drift(check);
  const when = check.checked_at ? `checked ${ago(check.checked_at)}, ${exact(check.checked_at)}` : "";
  return (
    <>
      {bad.length > 0 && (
        <Badge tone="bad" title={[when, ...bad.map((each) => each.what)].join("\n")}>
          <ShieldAlert className="size-3.5" aria-hidden />
          {plural(bad.length, "vulnerability", "vulnerabilities")}
        </Badge>
      )}
      {bad.length === 0 && check.advisories && (
        <Badge tone="good" title={when}>
          <CircleCheck className="size-3.5" aria-hidden /> no known vulnerability
        </Badge>
      )}
      {!check.advisories && (
        <Badge title={`${when}; vulnerabilities were not looked up: set TILTH_ADVISORIES`}>
          <CircleHelp className="size-3.5" aria-hidden /> not looked up
        </Badge>
      )}
      {drifted.length > 0 && (
        <Badge tone="wait" title={drifted.map((each) => `${each.what}\n${each.why ?? ""}`).join("\n")}>
          <ArrowRightLeft className="size-3.5" aria-hidden /> drifted
        </Badge>
      )}
    </>
  );
}

/** How an environment differs from that of an earlier run: `+2 −1 ~3 since churn-1`, a link to the difference. */
export function ChangeMark({ project, each }: { project: string; each: Passed }) {
  const change = each.change;
  if (!change) return null;
  const told = [
    change.added ? `+${change.added}` : "",
    change.removed ? `−${change.removed}` : "",
    change.changed ? `~${change.changed}` : "",
    ...change.facts,
  ].filter(Boolean);
  return (
    <Link
      to="/p/$project/environments/diff"
      params={{ project }}
      search={{ a: change.digest, b: each.digest }}
      title={`added, removed and changed packages since run ${change.run}`}
      className="inline-flex flex-wrap items-center gap-x-1 rounded bg-wait-soft px-1.5 py-0.5 text-xs font-medium text-wait hover:underline"
    >
      <GitCompareArrows className="size-3.5" aria-hidden />
      <span className="whitespace-nowrap tabular-nums">{told.join(" ") || "changed"}</span>{" "}
      <span className="whitespace-nowrap">since {change.run}</span>
    </Link>
  );
}

/** One colour for each of several equal versions. */
export const VERSION_TONES = [
  "bg-busy-soft text-busy",
  "bg-wait-soft text-wait",
  "bg-cached-soft text-cached",
  "bg-good-soft text-good",
  "bg-bad-soft text-bad",
  "bg-calm-soft text-calm",
];

/** A small square in a legend. */
export function Key({ className, children }: { className: string; children: ReactNode }) {
  return (
    <li className="flex items-center gap-1.5">
      <span aria-hidden className={clsx("inline-block size-3 rounded-[3px]", className)} />
      {children}
    </li>
  );
}

export function Legend({ children }: { children: ReactNode }) {
  return <ul className="flex flex-wrap gap-x-4 gap-y-1 text-xs text-muted">{children}</ul>;
}

/** A control with its label, above it or before it. */
export function Labelled({
  label,
  before = false,
  children,
}: {
  label: string;
  before?: boolean;
  children: (id: string) => ReactNode;
}) {
  const id = useId();
  return (
    <div className={clsx("min-w-0 text-xs text-muted", before ? "flex items-center gap-2" : "space-y-1")}>
      <label htmlFor={id} className="block">
        {label}
      </label>
      {children(id)}
    </div>
  );
}

/** A text whose names stand in backquotes, with these as code. */
export function Quoted({ text }: { text: string }) {
  return text.split("`").map((part, at) =>
    // biome-ignore lint/suspicious/noArrayIndexKey: the parts of one text
    at % 2 ? <code key={at}>{part}</code> : <span key={at}>{part}</span>,
  );
}

/** What checks found: what, why, and how to mend it. */
export function Findings({
  findings,
}: {
  findings: ReadonlyArray<{ what: string; why?: string; mend?: string; environment?: string }>;
}) {
  return (
    <ul className="divide-y divide-line text-sm">
      {findings.map((each) => (
        <li key={`${each.environment ?? ""} ${each.what}`} className="py-2 first:pt-0 last:pb-0">
          <p className="font-medium break-words">
            <Quoted text={each.what} />
            {each.environment && <span className="font-normal text-muted"> in {each.environment}</span>}
          </p>
          {each.why && (
            <p className="break-words whitespace-pre-wrap text-muted">
              <Quoted text={each.why} />
            </p>
          )}
          {each.mend && (
            <p className="break-words">
              <Quoted text={each.mend} />
            </p>
          )}
        </li>
      ))}
    </ul>
  );
}

export type Segment = {
  key: string;
  start: number;
  size: number;
  tone: string;
  title: string;
  label: string;
};

/** Parts of a whole, each as long as it is large: where too small for a line between two, there is none. */
export function ScaledBar({
  segments,
  scale,
  label,
  className = "h-9",
}: {
  segments: Segment[];
  scale: number; // what the whole width stands for
  label: string; // what is drawn, for those who do not see it
  className?: string;
}) {
  return (
    <div
      role="img"
      aria-label={label}
      className={clsx("relative overflow-hidden rounded bg-sunken", className)}
    >
      {segments.map((each) => {
        const share = each.size / scale;
        return (
          <div
            key={each.key}
            title={each.title}
            style={{ left: `${(100 * each.start) / scale}%`, width: `${100 * share}%` }}
            className={clsx(
              "absolute inset-y-0 flex items-center overflow-hidden text-xs whitespace-nowrap",
              each.tone,
              share > 0.004 && each.start > 0 && "shadow-[inset_1px_0_0_var(--surface)]",
            )}
          >
            {share > 0.07 && (
              <span className={clsx("mx-1 truncate rounded-sm px-1", each.tone.replace("hatched", ""))}>
                {each.label}
              </span>
            )}
          </div>
        );
      })}
    </div>
  );
}
