/** A log as bytes that come bit by bit, and where its lines begin. Knows nothing of workers, fetching or pages. */

const PAGE_BITS = 20;
const PAGE = 1 << PAGE_BITS; // bytes kept in one piece: a log that grows is never copied
const NEWLINE = 10;

/** One line as people read it. */
export type Line = {
  time: string; // ISO 8601; empty where the line has none
  error: boolean; // it went to stderr
  text: string; // with its ANSI sequences
};

export class Lines {
  private pages: Uint8Array[] = [];
  private starts = new Uint32Array(1024); // where each line begins; the last one may not be whole yet
  private known = 1;
  size = 0; // bytes so far

  /** How many lines are whole; with `torn`, what comes after the last newline too. */
  count(torn = false): number {
    const last = this.starts[this.known - 1] as number;
    return this.known - 1 + (torn && last < this.size ? 1 : 0);
  }

  append(part: Uint8Array): void {
    for (let from = 0; from < part.length; ) {
      const at = this.size & (PAGE - 1);
      if (at === 0) this.pages.push(new Uint8Array(PAGE));
      const taken = Math.min(part.length - from, PAGE - at);
      (this.pages.at(-1) as Uint8Array).set(part.subarray(from, from + taken), at);
      this.index(part.subarray(from, from + taken), this.size);
      this.size += taken;
      from += taken;
    }
  }

  private index(part: Uint8Array, offset: number): void {
    for (let at = part.indexOf(NEWLINE); at !== -1; at = part.indexOf(NEWLINE, at + 1)) {
      if (this.known === this.starts.length) {
        const larger = new Uint32Array(this.starts.length * 2);
        larger.set(this.starts);
        this.starts = larger;
      }
      this.starts[this.known] = offset + at + 1;
      this.known += 1;
    }
  }

  /** Bytes from one place up to another. */
  private bytes(from: number, to: number): Uint8Array {
    const first = from >>> PAGE_BITS;
    if (to <= (first + 1) * PAGE)
      return (this.pages[first] ?? new Uint8Array()).subarray(from % PAGE, to - first * PAGE);
    const whole = new Uint8Array(to - from);
    for (let at = from; at < to; ) {
      const page = at >>> PAGE_BITS;
      const end = Math.min(to, (page + 1) * PAGE);
      whole.set((this.pages[page] as Uint8Array).subarray(at % PAGE, end - page * PAGE), at - from);
      at = end;
    }
    return whole;
  }

  private end(line: number): number {
    return line + 1 < this.known ? (this.starts[line + 1] as number) - 1 : this.size;
  }

  /** Some lines as they were written, for reading or searching; one that is longer than `longest` bytes is cut. */
  raw(from: number, to: number, longest = 20_000): string[] {
    const found: string[] = [];
    const last = Math.min(to, this.count(true));
    if (from >= last) return found;
    const begin = this.starts[from] as number;
    const end = this.end(last - 1);
    if (end - begin < 1 << 22) {
      // Decoded at once: one call for each line takes ten times as long.
      const parts = decoder.decode(this.bytes(begin, end)).split("\n");
      return parts.map((each) => (each.length > longest ? `${each.slice(0, longest)}${CUT}` : each));
    }
    for (let line = from; line < last; line += 1) {
      const start = this.starts[line] as number;
      const stop = this.end(line);
      const cut = stop - start > longest;
      const text = decoder.decode(this.bytes(start, cut ? start + longest : stop));
      found.push(cut ? text + CUT : text);
    }
    return found;
  }
}

const CUT = " … (cut here; download the log for the rest)";
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Time, stream and text of a line, as the engine writes them: `2026-03-01T06:30:00.000+00:00 E text`. */
export function parseLine(line: string): Line {
  const at = line.indexOf(" ");
  const stream = line[at + 1];
  if (at < 19 || at > 40 || (stream !== "O" && stream !== "E") || (line[at + 2] ?? " ") !== " ")
    return { time: "", error: false, text: line };
  return { time: line.slice(0, at), error: stream === "E", text: line.slice(at + 3) };
}
