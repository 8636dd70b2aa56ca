/** JSON of which there is only a beginning: what is whole in it, and where it was cut. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Stands where something was cut off. */
export const CUT = Symbol("cut");
export type Part = null | boolean | number | string | typeof CUT | Part[] | Map<string, Part>;

const DEEPEST = 200;

/**
 * Read a JSON text, or, where it is not `whole`, the beginning of one. Objects come as maps, so that keys such as `__proto__` are keys, and in
 * their order. Numbers that JavaScript does not hold exactly come as text.
 */
export function readPart(text: string, whole: boolean): { value: Part; cut: boolean; wrong: boolean } {
  const reader = new Reader(text, whole);
  try {
    const value = reader.value(0);
    reader.space();
    return { value, cut: reader.cut, wrong: !reader.cut && reader.at < text.length };
  } catch (error) {
    if (error instanceof Wrong) return { value: CUT, cut: false, wrong: true };
    throw error;
  }
}

class Wrong extends Error {}

class Reader {
  at = 0;
  cut = false;
  constructor(
    private readonly text: string,
    private readonly whole: boolean,
  ) {}

  value(depth: number): Part {
    if (depth > DEEPEST) throw new Wrong();
    this.space();
    const letter = this.text[this.at];
    if (letter === undefined) return this.ended();
    if (letter === "[") return this.list(depth);
    if (letter === "{") return this.object(depth);
    if (letter === '"') return this.string() ?? CUT;
    return this.word();
  }

  space() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  private ended(): typeof CUT {
    if (this.whole) throw new Wrong();
    this.cut = true;
    return CUT;
  }

  private list(depth: number): Part {
    const items: Part[] = [];
    this.at += 1;
    this.space();
    if (this.text[this.at] === "]") {
      this.at += 1;
      return items;
    }
    for (;;) {
      items.push(this.value(depth + 1));
      if (this.cut) return items;
      this.space();
      const letter = this.text[this.at];
      if (letter === undefined) {
        items.push(this.ended());
        return items;
      }
      this.at += 1;
      if (letter === "]") return items;
      if (letter !== ",") throw new Wrong();
    }
  }

  private object(depth: number): Part {
    const fields = new Map<string, Part>();
    this.at += 1;
    this.space();
    if (this.text[this.at] === "}") {
      this.at += 1;
      return fields;
    }
    for (;;) {
      this.space();
      const begun = this.text[this.at];
      const key = begun === '"' ? this.string() : undefined;
      if (begun !== undefined && begun !== '"') throw new Wrong();
      this.space();
      if (key === undefined || this.text[this.at] === undefined) {
        fields.set(key ?? "…", this.ended());
        return fields;
      }
      if (this.text[this.at] !== ":") throw new Wrong();
      this.at += 1;
      fields.set(key, this.value(depth + 1));
      if (this.cut) return fields;
      this.space();
      const letter = this.text[this.at];
      if (letter === undefined) {
        fields.set("…", this.ended());
        return fields;
      }
      this.at += 1;
      if (letter === "}") return fields;
      if (letter !== ",") throw new Wrong();
    }
  }

  private string(): string | undefined {
    const begun = this.at;
    let end = begun + 1;
    let slash = begun; // where the last one began
    for (;;) {
      const letter = this.text[end];
      if (letter === undefined) {
        this.ended();
        this.at = this.text.length;
        // What there is of a long text is worth more than nothing.
        const half = slash > begun && slash + (this.text[slash + 1] === "u" ? 6 : 2) > this.text.length;
        return this.parsed(`${this.text.slice(begun, half ? slash : undefined)}…"`);
      }
      if (letter === '"') break;
      if (letter === "\\") slash = end;
      end += letter === "\\" ? 2 : 1;
    }
    this.at = end + 1;
    return this.parsed(this.text.slice(begun, end + 1));
  }

  private parsed(text: string): string {
    try {
      return JSON.parse(text) as string;
    } catch {
      throw new Wrong();
    }
  }

  private word(): Part {
    const found = /[^\s,\]}]*/y;
    found.lastIndex = this.at;
    const word = found.exec(this.text)?.[0] ?? "";
    this.at += word.length;
    // It may go on: `1` of `12`.
    if (this.at >= this.text.length && !this.whole) return this.ended();
    let value: unknown;
    try {
      value = JSON.parse(word);
    } catch {
      throw new Wrong();
    }
    if (typeof value === "number" && /^-?\d+$/.test(word) && !Number.isSafeInteger(value)) return word;
    return value as Part;
  }
}

/** Python's values as they are written in JSON, by `tilth.ir.values`: the name and the payload of a tag. */
export function tagOf(value: Part): { tag: string; payload: Part } | undefined {
  if (!(value instanceof Map) || value.size !== 1) return undefined;
  const [[tag, payload]] = [...value] as [[string, Part]];
  return tag.startsWith("$") ? { tag: tag.slice(1), payload } : undefined;
}
