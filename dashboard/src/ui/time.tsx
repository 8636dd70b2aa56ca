import { useEffect, useState } from "react";
import { ago, between, duration, exact } from "./format";

/** The present, which moves on every `everyMs`. */
export function useNow(everyMs = 1000, moving = true): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!moving) return;
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, moving]);
  return now;
}

/** `5 m ago`, with the exact moment in its title. */
export function Ago({ at }: { at: string | null | undefined }) {
  const now = useNow(10_000);
  if (!at) return <span className="text-muted">–</span>;
  return (
    <time dateTime={at} title={exact(at)} className="whitespace-nowrap tabular-nums">
      {ago(at, now)}
    </time>
  );
}

/** How long something took, or has taken so far. */
export function Took({
  from,
  to,
  running = false,
}: {
  from: string | null | undefined;
  to: string | null | undefined;
  running?: boolean;
}) {
  const now = useNow(1000, running);
  return <span className="whitespace-nowrap tabular-nums">{duration(between(from, to, now))}</span>;
}
