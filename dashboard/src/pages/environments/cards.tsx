import { Link } from "@tanstack/react-router";
import clsx from "clsx";
import { ChevronRight, Layers, Package } from "lucide-react";
import { CopyButton } from "@/ui/copy";
import { bytes, count, short } from "@/ui/format";
import { ChangeMark, CheckMarks, LANES, total } from "./parts";
import type { Passage, Passed } from "./queries";

/** The kinds of environments that code passes through, from left to right. */
export function Lanes({ project, passage }: { project: string; passage: Passage }) {
  const wide = passage.environments.filter((each) => each.role === "execution").length > 1;
  return (
    <ol
      aria-label="kinds of environments"
      className={clsx("grid gap-4 md:grid-cols-2", wide ? "lg:grid-cols-5" : "lg:grid-cols-4")}
    >
      {LANES.map((lane, at) => {
        const inside = passage.environments.filter((each) => lane.roles.includes(each.role));
        return (
          <li
            key={lane.id}
            className={clsx("relative min-w-0", wide && lane.id === "execution" && "md:col-span-2")}
          >
            <div className="mb-2 lg:min-h-14">
              <h2 className="font-semibold">{lane.title}</h2>
              <p className="text-xs text-muted">{lane.about}</p>
              {at < LANES.length - 1 && (
                <ChevronRight
                  className="absolute top-0.5 -right-4 hidden size-4 text-line-strong lg:block"
                  aria-hidden
                />
              )}
            </div>
            <div
              className={clsx("grid grid-cols-1 gap-3", wide && lane.id === "execution" && "sm:grid-cols-2")}
            >
              {inside.length === 0 && (
                <p className="rounded-lg border border-dashed border-line-strong p-4 text-sm text-muted">
                  {lane.none}
                </p>
              )}
              {inside.map((each) => (
                <EnvironmentCard
                  key={each.digest || each.name}
                  project={project}
                  each={each}
                  passage={passage}
                />
              ))}
            </div>
          </li>
        );
      })}
    </ol>
  );
}

function EnvironmentCard({ project, each, passage }: { project: string; each: Passed; passage: Passage }) {
  const size = total(each.unpacked);
  // Where all are for one, it need not be said.
  const mixed = new Set(passage.environments.map((one) => one.platform)).size > 1;
  const whole = Object.keys(each.unpacked).length === each.packages.length;
  return (
    <article className="min-w-0 rounded-lg border border-line bg-surface p-3 shadow-card">
      <header className="flex items-start justify-between gap-2">
        <h3 className="min-w-0 font-medium break-words">
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
        </h3>
        <span
          title={each.platform}
          className="shrink-0 rounded bg-accent-soft px-1.5 py-0.5 text-xs font-medium text-accent"
        >
          Python {each.python}
        </span>
      </header>
      <p className="mt-0.5 flex items-center text-xs text-muted">
        {each.digest ? (
          <>
            <code title={each.digest}>{short(each.digest)}</code>
            <CopyButton text={each.digest} label={`copy the digest of ${each.name}`} />
          </>
        ) : (
          "the one that shows you this page"
        )}
      </p>
      {mixed && <p className="truncate text-xs text-muted">{each.platform}</p>}
      <dl className="mt-2 grid grid-cols-2 gap-2 text-sm">
        <div>
          <dt className="text-xs text-muted">packages</dt>
          <dd className="flex items-center gap-1.5 font-semibold tabular-nums">
            <Package className="size-3.5 text-muted" aria-hidden />
            {count(each.packages.length)}
            {each.system.length > 0 && (
              <span className="text-xs font-normal text-muted">+ {each.system.length} of conda</span>
            )}
          </dd>
        </div>
        <div>
          <dt className="text-xs text-muted">unpacked</dt>
          <dd
            className="font-semibold tabular-nums"
            title={whole ? undefined : "not known of all its packages"}
          >
            {size ? `${whole ? "" : "≥ "}${bytes(size)}` : "–"}
          </dd>
        </div>
      </dl>
      {each.build && (
        <p className="mt-2 flex items-center gap-1.5 text-xs text-muted">
          <Layers className="size-3.5" aria-hidden />
          <Link
            to="/p/$project/builds/$id"
            params={{ project, id: each.build.id ?? "" }}
            className="hover:text-ink hover:underline"
          >
            image of {bytes((each.build.layers ?? []).reduce((sum, layer) => sum + layer.size, 0))}
          </Link>
        </p>
      )}
      {each.steps.length > 0 && <Chips label="steps" names={each.steps} run={passage.run.name} />}
      {each.built.length > 0 && <Chips label="built" names={each.built} />}
      {each.digest && (
        <div className="mt-3 flex flex-wrap gap-1.5">
          <CheckMarks check={each.check} />
          <ChangeMark project={project} each={each} />
        </div>
      )}
    </article>
  );
}

const SHOWN = 6;

function Chips({ label, names, run }: { label: string; names: string[]; run?: string }) {
  return (
    <div className="mt-2">
      <p className="text-xs text-muted">{label}</p>
      <ul className="mt-1 flex flex-wrap gap-1">
        {names.slice(0, SHOWN).map((each) => (
          <li
            key={each}
            title={run ? `a step of ${run}` : undefined}
            className="max-w-full truncate rounded bg-sunken px-1.5 py-0.5 font-mono text-xs"
          >
            {each}
          </li>
        ))}
        {names.length > SHOWN && (
          <li className="px-1 py-0.5 text-xs text-muted" title={names.slice(SHOWN).join(", ")}>
            and {names.length - SHOWN} more
          </li>
        )}
      </ul>
    </div>
  );
}
