import { queryOptions, useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { Digest } from "@/ui/copy";
import { bytes, count } from "@/ui/format";
import { To } from "./links";
import { isFinal, type StepRun } from "./model";

const LONGEST = 2000; // characters of a value that are shown

const artifactsQuery = (project: string, ids: string[]) =>
  queryOptions({
    queryKey: ["artifacts-by-id", project, ids.join()],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/artifacts", {
          params: { path: { project }, query: { id: ids, limit: "1000" } as never },
        }),
      ),
    enabled: ids.length > 0,
    staleTime: 60_000,
  });

type Reference = { digest: string; id: string; from: string };

/** What stands for an artifact in a recorded input. */
export function referenceOf(value: unknown): Reference | null {
  if (typeof value !== "object" || value === null || !("$artifact" in value)) return null;
  const told = value as { $artifact: unknown; id?: unknown; from?: unknown };
  return { digest: String(told.$artifact), id: String(told.id ?? ""), from: String(told.from ?? "") };
}

/** Ids of all artifacts in a step run's inputs and outputs. */
export function artifactIds(stepRun: StepRun): string[] {
  const ids = new Set<string>();
  const look = (value: unknown) => {
    const reference = referenceOf(value);
    if (reference) {
      if (reference.id) ids.add(reference.id);
    } else if (Array.isArray(value)) value.forEach(look);
    else if (typeof value === "object" && value !== null) Object.values(value).forEach(look);
  };
  look(Object.values(stepRun.inputs ?? {}));
  for (const each of Object.values(stepRun.outputs ?? {})) if (each.artifact) ids.add(each.artifact);
  return [...ids].sort().slice(0, 500);
}

/** A value as JSON on one line, or on several where it is long; a large one in part. */
export function Json({ value }: { value: unknown }) {
  const { text, more } = useMemo(() => written(value), [value]);
  return text.includes("\n") ? (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <pre tabIndex={0} className="max-h-60 overflow-auto rounded border border-line bg-sunken p-2 text-xs">
      {text}
      {more && `\n… ${count(more)} characters more`}
    </pre>
  ) : (
    <code className="break-all">{text}</code>
  );
}

export function written(value: unknown): { text: string; more: number } {
  const large = value as { $large?: string; size?: number } | null;
  if (typeof value === "object" && large?.$large)
    return { text: `a large value of ${bytes(large.size ?? 0)}`, more: 0 };
  let text = JSON.stringify(value) ?? "null";
  if (text.length > 60) text = JSON.stringify(value, null, 2);
  return { text: text.slice(0, LONGEST), more: Math.max(0, text.length - LONGEST) };
}

/** What a step was given and what it gave, with links to the artifacts. */
export function Values({ stepRun }: { stepRun: StepRun }) {
  const project = useProject();
  const ids = useMemo(() => artifactIds(stepRun), [stepRun]);
  const { data: page } = useQuery(artifactsQuery(project, ids));
  const byId = useMemo(() => new Map((page?.items ?? []).map((each) => [each.id, each])), [page]);

  const artifact = (id: string, digest: string) => {
    const found = byId.get(id);
    if (!found) return <Digest value={digest} />;
    return (
      <span>
        <To path={["artifacts", found.name, found.version ?? 0]}>
          {found.name} <span className="tabular-nums">v{found.version}</span>
        </To>{" "}
        <span className="text-xs text-muted">
          {[
            found.type?.split(":").pop(),
            bytes(found.size),
            found.length === null || found.length === undefined ? "" : `${count(found.length)} items`,
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </span>
    );
  };
  const input = (value: unknown) => {
    const reference = referenceOf(value);
    if (!reference) return <Json value={value} />;
    return (
      <span className="flex flex-wrap items-baseline gap-x-2">
        {artifact(reference.id, reference.digest)}
        {reference.from && <span className="text-xs text-muted">from {reference.from}</span>}
      </span>
    );
  };
  const inputs = Object.entries(stepRun.inputs ?? {});
  const outputs = Object.entries(stepRun.outputs ?? {});
  return (
    <dl className="grid grid-cols-[minmax(4.5rem,auto)_1fr] gap-x-4 gap-y-1.5 text-sm">
      <List
        title="inputs"
        none={stepRun.index === null ? "none" : "those of its step, and its item"}
        items={inputs.map(([name, value]) => [name, input(value)])}
      />
      <List
        title="outputs"
        none={isFinal(stepRun.state) ? "none" : "none yet"}
        items={outputs.map(([name, ref]) => [name, artifact(ref.artifact ?? "", ref.digest)])}
      />
    </dl>
  );
}

function List({
  title,
  none,
  items,
}: {
  title: string;
  none: string;
  items: Array<[string, React.ReactNode]>;
}) {
  return (
    <div className="contents">
      <dt className="text-muted">{title}</dt>
      <dd className="min-w-0 space-y-1">
        {items.length === 0 && <span className="text-muted">{none}</span>}
        {items.map(([name, value]) => (
          <div key={name} className="min-w-0">
            <code className="mr-2 text-muted">{name}</code>
            {value}
          </div>
        ))}
      </dd>
    </div>
  );
}
