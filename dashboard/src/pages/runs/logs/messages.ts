import type { Line } from "./lines";

/** What a page asks of the worker that holds a log. */
export type Ask =
  | { kind: "open"; url: string; live: boolean }
  | { kind: "live"; live: boolean } // whether more is to be waited for
  | { kind: "again" } // go on after a failure
  | { kind: "lines"; from: number; to: number; id: number }
  | { kind: "search"; text: string; id: number };

/** What the worker tells. */
export type Tell =
  | { kind: "state"; lines: number; bytes: number; total: number; whole: boolean; cut: boolean }
  | { kind: "lines"; from: number; lines: Line[]; id: number }
  | {
      kind: "matches";
      id: number;
      found: Uint32Array;
      count: number;
      looked: number;
      done: boolean;
      error: string;
    }
  | { kind: "failed"; status: number; summary: string; why: string; mend: string };
