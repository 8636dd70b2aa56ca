/** What is shown of builds: pure, so that it can be tested. */

import type { Build } from "./queries";

export type LogLine = { time: string; stream: "stdout" | "stderr"; text: string };

/** The lines of a part of a log: each has a time, `O` or `E`, and text. */
export function lines(text: string): LogLine[] {
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const found = line.match(/^(\S+) ([OE]) (.*)$/s);
      if (!found) return { time: "", stream: "stdout" as const, text: line };
      return {
        time: found[1] ?? "",
        stream: found[2] === "E" ? ("stderr" as const) : ("stdout" as const),
        text: found[3] ?? "",
      };
    });
}

/** Where a build stands, in one word: one that is made by nobody any more is lost. */
export function standing(build: Pick<Build, "state" | "found">, lost: boolean): string {
  if (build.state === "running") return lost ? "lost" : "running";
  if (build.state === "completed") return build.found ? "found" : "built";
  return build.state ?? "built";
}

export type Bytes = { made: number; sent: number; reused: number };

/** Bytes of several builds. */
export function sums(
  builds: ReadonlyArray<Pick<Build, "bytes_made" | "bytes_sent" | "bytes_reused">>,
): Bytes {
  const found = { made: 0, sent: 0, reused: 0 };
  for (const each of builds) {
    found.made += each.bytes_made ?? 0;
    found.sent += each.bytes_sent ?? 0;
    found.reused += each.bytes_reused ?? 0;
  }
  return found;
}

const ORDER = ["lock", "base", "layers", "push", "load", "attach"];

/** Where the time of a build went, in the order of its phases. */
export function phases(
  seconds: Record<string, number> | undefined,
): Array<{ name: string; seconds: number }> {
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return Object.entries(seconds ?? {})
    .map(([name, amount]) => ({ name, seconds: amount }))
    .filter((each) => each.seconds > 0)
    .sort((one, other) => rank(one.name) - rank(other.name));
}
