import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import clsx from "clsx";
import { ArrowLeftRight, ArrowRight, Minus, Pencil, Plus } from "lucide-react";
import { useProject } from "@/shell/project";
import { Button } from "@/ui/button";
import { Card } from "@/ui/card";
import { count, exact, plural, short } from "@/ui/format";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty, Loading } from "@/ui/said";
import { Badge } from "@/ui/state";
import { Ago } from "@/ui/time";
import { distanceOf } from "./matrix";
import { Labelled } from "./parts";
import { difference, type EnvironmentDiff, environmentList } from "./queries";

const route = getRouteApi("/p/$project/environments/diff");

export default function DiffPage() {
  const project = useProject();
  const { a = "", b = "" } = route.useSearch();
  const navigate = useNavigate({ from: "/p/$project/environments/diff" });
  const known = useInfiniteQuery(environmentList(project));
  const query = useQuery(difference(project, a, b));
  const items = (known.data?.pages ?? []).flatMap((page) => page.items);
  const options = (chosen: string) => [
    { value: "", label: "choose an environment" },
    ...(chosen && !items.some((each) => each.id === chosen) ? [{ value: chosen, label: short(chosen) }] : []),
    ...items.map((each) => ({
      value: each.id ?? "",
      label: `${each.name} · ${short(each.id)} · ${each.role} · ${exact(each.created_at)}`,
    })),
  ];
  const crumbs = [{ label: "Environments", to: `/p/${encodeURIComponent(project)}/environments` }];
  return (
    <Page title="What differs" crumbs={crumbs}>
      <div className="grid items-end gap-3 md:grid-cols-[1fr_auto_1fr]">
        <Labelled label="From">
          {(id) => (
            <Select
              id={id}
              value={a}
              options={options(a)}
              onChange={(event) =>
                void navigate({ search: { a: event.target.value || undefined, b: b || undefined } })
              }
            />
          )}
        </Labelled>
        <Button onClick={() => void navigate({ search: { a: b || undefined, b: a || undefined } })}>
          <ArrowLeftRight /> Swap
        </Button>
        <Labelled label="To">
          {(id) => (
            <Select
              id={id}
              value={b}
              options={options(b)}
              onChange={(event) =>
                void navigate({ search: { a: a || undefined, b: event.target.value || undefined } })
              }
            />
          )}
        </Labelled>
      </div>
      {known.hasNextPage && (
        <p className="text-xs text-muted">
          The lists have the newest {count(items.length)}.{" "}
          <button type="button" className="underline" onClick={() => void known.fetchNextPage()}>
            Older ones
          </button>
        </p>
      )}
      {a && b ? (
        <Answer query={query} loading={<Loading rows={8} />}>
          {(found) => <Difference project={project} found={found} />}
        </Answer>
      ) : (
        <Card>
          <Empty title="Choose two environments" command="tilth env diff churn-3 churn-4">
            They may be of other pipelines and runs. In a terminal, whole runs, steps and lock files are
            compared too.
          </Empty>
        </Card>
      )}
    </Page>
  );
}

type Change = EnvironmentDiff["packages"][number];

function Difference({ project, found }: { project: string; found: EnvironmentDiff }) {
  const { left, right } = found;
  const of = (kind: string) => found.packages.filter((each) => each.change === kind);
  const groups: Array<[string, Change[]]> = [
    ["changed version", of("version")],
    ["other file of the same version", of("file")],
    ["added", of("added")],
    ["removed", of("removed")],
  ];
  const alike =
    found.packages.length + found.facts.length + found.variables.length + found.system.length === 0;
  return (
    <div className="space-y-4">
      <div className="grid gap-3 md:grid-cols-2">
        {[left, right].map((each, at) => (
          <div
            key={at === 0 ? "left" : "right"}
            className="rounded-lg border border-line bg-surface p-4 shadow-card"
          >
            <p className="text-xs text-muted">{at === 0 ? "from" : "to"}</p>
            <p className="flex flex-wrap items-baseline gap-2">
              <Link
                to="/p/$project/environments/$digest"
                params={{ project, digest: each.id }}
                className="font-semibold hover:underline"
              >
                {each.name}
              </Link>
              <code className="text-muted">{short(each.id)}</code>
              <Badge>{each.role}</Badge>
            </p>
            <p className="mt-1 text-sm text-muted">
              Python {each.python}, {each.platform}, {plural(each.packages, "package")}, recorded{" "}
              <Ago at={each.created_at} />
            </p>
          </div>
        ))}
      </div>
      <Summary found={found} />
      {alike && (
        <p className="rounded-lg border border-line bg-good-soft p-4 text-sm text-good">
          Nothing differs: Python, platform, packages and variables are alike.
        </p>
      )}
      {(found.facts.length > 0 || found.variables.length > 0) && (
        <Card title="Python, platform and variables" flush>
          <ul className="divide-y divide-line text-sm">
            {[...found.facts, ...found.variables].map((each) => (
              <li key={each.name} className="grid gap-x-3 px-4 py-2 sm:grid-cols-[12rem_1fr] sm:items-center">
                <span className="font-medium break-words">{each.name}</span>
                <Sides left={each.left} right={each.right} />
              </li>
            ))}
          </ul>
        </Card>
      )}
      {groups
        .filter(([, changes]) => changes.length > 0)
        .map(([title, changes]) => (
          <Card
            key={title}
            flush
            title={
              <>
                {plural(changes.length, "package")} {title}
              </>
            }
          >
            <ul className="divide-y divide-line text-sm">
              {changes.map((each) => (
                <ChangeLine key={each.name} change={each} />
              ))}
            </ul>
          </Card>
        ))}
      {found.system.length > 0 && (
        <Card flush title={`${plural(found.system.length, "package")} of conda`}>
          <ul className="divide-y divide-line text-sm">
            {found.system.map((each) => (
              <ChangeLine key={each.name} change={each} />
            ))}
          </ul>
        </Card>
      )}
    </div>
  );
}

const LOOKS = {
  added: { icon: Plus, tone: "text-good", bar: "bg-good" },
  removed: { icon: Minus, tone: "text-bad", bar: "bg-bad" },
  version: { icon: Pencil, tone: "text-wait", bar: "bg-wait" },
  file: { icon: Pencil, tone: "text-busy", bar: "bg-busy" },
} as const;

/** How much of the whole differs, as one bar. */
function Summary({ found }: { found: EnvironmentDiff }) {
  const amounts = (Object.keys(LOOKS) as Array<keyof typeof LOOKS>).map((kind) => ({
    kind,
    many: found.packages.filter((each) => each.change === kind).length,
  }));
  const whole = Math.max(1, found.same + found.packages.length);
  return (
    <div className="rounded-lg border border-line bg-surface p-4 shadow-card">
      <div className="flex h-3 gap-px overflow-hidden rounded-full bg-sunken" aria-hidden>
        {amounts.map(({ kind, many }) => (
          <div key={kind} className={LOOKS[kind].bar} style={{ width: `${(100 * many) / whole}%` }} />
        ))}
        <div className="grow bg-line-strong" />
      </div>
      <ul className="mt-2 flex flex-wrap gap-x-4 gap-y-1 text-sm">
        {amounts.map(({ kind, many }) => {
          const { icon: Icon, tone } = LOOKS[kind];
          return (
            <li key={kind} className="flex items-center gap-1">
              <Icon className={clsx("size-4", tone)} aria-hidden />
              <b className="font-semibold tabular-nums">{count(many)}</b>
              {
                {
                  added: "added",
                  removed: "removed",
                  version: "of another version",
                  file: "of another file",
                }[kind]
              }
            </li>
          );
        })}
        <li className="text-muted">
          <b className="font-semibold tabular-nums">{count(found.same)}</b> alike
        </li>
      </ul>
    </div>
  );
}

function ChangeLine({ change }: { change: Change }) {
  const look = LOOKS[change.change as keyof typeof LOOKS] ?? LOOKS.version;
  const { icon: Icon } = look;
  const { left, right } = change;
  const apart =
    change.change === "version" && left && right ? distanceOf([left.version, right.version]) : null;
  return (
    <li className="grid gap-x-3 px-4 py-2 sm:grid-cols-[12rem_1fr_auto] sm:items-center">
      <span className="flex min-w-0 items-center gap-2 font-medium">
        <Icon className={clsx("size-4 shrink-0", look.tone)} aria-label={change.change} />
        <span className="truncate" title={change.name}>
          {change.name}
        </span>
      </span>
      <Sides
        left={left ? described(left, change.change) : null}
        right={right ? described(right, change.change) : null}
      />
      {apart && (
        <span>
          <Badge tone={apart === "major" ? "bad" : apart === "minor" ? "wait" : "calm"}>{apart}</Badge>
        </span>
      )}
    </li>
  );
}

function described(side: NonNullable<Change["left"]>, change: string): string {
  const file = change === "file" ? side.files[0] || side.origin || short(side.digests[0]) : "";
  return [side.version, file].filter(Boolean).join(" · ");
}

function Sides({ left, right }: { left: string | null; right: string | null }) {
  return (
    <span className="flex min-w-0 flex-wrap items-center gap-2">
      {left !== null && (
        <code className="rounded bg-bad-soft px-1.5 py-0.5 break-all text-bad">{left || "empty"}</code>
      )}
      {left !== null && right !== null && (
        <ArrowRight className="size-4 shrink-0 text-muted" aria-label="to" />
      )}
      {right !== null && (
        <code className="rounded bg-good-soft px-1.5 py-0.5 break-all text-good">{right || "empty"}</code>
      )}
    </span>
  );
}
