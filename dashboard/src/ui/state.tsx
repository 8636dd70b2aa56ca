import clsx from "clsx";
import { Ban, Check, CircleDashed, Clock3, LoaderCircle, Recycle, SkipForward, X } from "lucide-react";
import type { ComponentType } from "react";

type Look = { icon: ComponentType<{ className?: string }>; tone: Tone; spin?: boolean };
export type Tone = "good" | "cached" | "busy" | "wait" | "bad" | "calm";

const STATES: Record<string, Look> = {
  queued: { icon: Clock3, tone: "wait" },
  running: { icon: LoaderCircle, tone: "busy", spin: true },
  completed: { icon: Check, tone: "good" },
  cached: { icon: Recycle, tone: "cached" },
  failed: { icon: X, tone: "bad" },
  cancelled: { icon: Ban, tone: "calm" },
  skipped: { icon: SkipForward, tone: "calm" },
};

const TONES: Record<Tone, string> = {
  good: "bg-good-soft text-good",
  cached: "bg-cached-soft text-cached",
  busy: "bg-busy-soft text-busy",
  wait: "bg-wait-soft text-wait",
  bad: "bg-bad-soft text-bad",
  calm: "bg-calm-soft text-calm",
};

export function toneOf(state: string): Tone {
  return STATES[state]?.tone ?? "calm";
}

/** The colour of a state, as CSS has it, for charts and graphs. */
export function colourOf(state: string): string {
  return `var(--${toneOf(state)})`;
}

/** A run's or step's state: an icon and a word, never colour alone. */
export function State({ state, bare = false }: { state: string; bare?: boolean }) {
  const { icon: Icon, tone, spin } = STATES[state] ?? { icon: CircleDashed, tone: "calm", spin: false };
  return (
    <span
      className={clsx(
        "inline-flex items-center gap-1 rounded-full align-middle text-xs font-medium whitespace-nowrap",
        bare ? TONES[tone].split(" ")[1] : `${TONES[tone]} px-2 py-0.5`,
      )}
    >
      <Icon className={clsx("size-3.5 shrink-0", spin && "animate-spin")} aria-hidden />
      {state}
    </span>
  );
}

/** A short word in a colour. */
export function Badge({
  tone = "calm",
  children,
  title,
}: {
  tone?: Tone;
  children: React.ReactNode;
  title?: string;
}) {
  return (
    <span
      title={title}
      className={clsx(
        "inline-flex items-center gap-1 rounded px-1.5 py-0.5 text-xs font-medium whitespace-nowrap",
        TONES[tone],
      )}
    >
      {children}
    </span>
  );
}
