import { CircleAlert, RotateCw } from "lucide-react";
import type { ReactNode } from "react";
import { told } from "@/api/errors";
import { Button } from "./button";
import { Command } from "./copy";

/** An error, with why and what to do. */
export function ErrorView({ error, retry }: { error: unknown; retry?: () => void }) {
  const { summary, why, mend } = told(error);
  return (
    <div role="alert" className="flex gap-3 rounded-lg border border-line bg-bad-soft p-4 text-sm">
      <CircleAlert className="mt-0.5 size-4 shrink-0 text-bad" aria-hidden />
      <div className="min-w-0 space-y-1">
        <p className="font-semibold break-words text-bad">{sentence(summary)}</p>
        {why && <p className="break-words whitespace-pre-wrap">{sentence(why)}</p>}
        {mend && <p className="break-words">{sentence(mend)}</p>}
        {retry && (
          <Button small className="mt-1" onClick={retry}>
            <RotateCw /> Try again
          </Button>
        )}
      </div>
    </div>
  );
}

/** Nothing here yet: what would be, and what to do next. */
export function Empty({
  title,
  children,
  command,
}: {
  title: string;
  children?: ReactNode;
  command?: string | string[];
}) {
  const commands = typeof command === "string" ? [command] : (command ?? []);
  return (
    <div className="flex flex-col items-center gap-3 px-4 py-12 text-center">
      <p className="font-semibold">{title}</p>
      {children && <div className="max-w-prose text-muted">{children}</div>}
      {commands.map((each) => (
        <Command key={each}>{each}</Command>
      ))}
    </div>
  );
}

/** What stands where something is being fetched. */
export function Skeleton({ className = "h-4 w-full" }: { className?: string }) {
  return <div aria-hidden className={`animate-pulse rounded bg-line ${className}`} />;
}

export function Loading({ rows = 5 }: { rows?: number }) {
  return (
    <div role="status" aria-label="loading" className="space-y-3 p-4">
      {Array.from({ length: rows }, (_, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all alike
        <Skeleton key={at} />
      ))}
    </div>
  );
}

/** A query's answer, or that it is on its way, or why there is none. */
export function Answer<T>({
  query,
  children,
  loading,
}: {
  query: { data: T | undefined; error: unknown; isPending: boolean; refetch: () => unknown };
  children: (data: T) => ReactNode;
  loading?: ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.error) return <ErrorView error={query.error} retry={() => void query.refetch()} />;
  return loading ?? <Loading />;
}

export function sentence(text: string): string {
  const begun = text.slice(0, 1).toUpperCase() + text.slice(1);
  return /[.!?:]$/.test(begun) ? begun : `${begun}.`;
}
