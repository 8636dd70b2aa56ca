/** The colours that programs print, and nothing else they may send to a terminal (ECMA-48, section 8.3.117). */

export type Span = { text: string; className: string; colour?: string; background?: string };

type Look = {
  fg: string;
  bg: string;
  bold: boolean;
  dim: boolean;
  italic: boolean;
  underline: boolean;
  strike: boolean;
  inverse: boolean;
};

const PLAIN: Look = {
  fg: "",
  bg: "",
  bold: false,
  dim: false,
  italic: false,
  underline: false,
  strike: false,
  inverse: false,
};

// A control sequence, an operating system command up to its end, or another escape of two characters.
const SEQUENCE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.?)/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f]/g;

/** A line without anything but its text. */
export function plain(text: string): string {
  if (text.includes("\x1b")) text = text.replace(SEQUENCE, "");
  return text.replace(CONTROL, "");
}

/** A line as pieces of one look each. */
export function spans(text: string): Span[] {
  if (!text.includes("\x1b")) {
    const told = text.replace(CONTROL, "");
    return told ? [{ text: told, className: "" }] : [];
  }
  const found: Span[] = [];
  let look = PLAIN;
  let from = 0;
  const take = (to: number) => {
    const told = text.slice(from, to).replace(CONTROL, "");
    if (told) found.push(shown(told, look));
  };
  for (const match of text.matchAll(SEQUENCE)) {
    take(match.index);
    from = match.index + match[0].length;
    if (match[2] === "m" && /^[\d;:]*$/.test(match[1] ?? "")) look = changed(look, match[1] ?? "");
  }
  take(text.length);
  return found;
}

function shown(text: string, look: Look): Span {
  let { fg, bg } = look;
  if (look.inverse) [fg, bg] = [bg || "inverse", fg || "ink"];
  const classes = [
    look.bold && "font-bold",
    look.dim && "opacity-70",
    look.italic && "italic",
    look.underline && "underline",
    look.strike && "line-through",
  ];
  const span: Span = { text, className: classes.filter(Boolean).join(" ") };
  if (fg) span.colour = bg ? colour(fg) : readable(colour(fg));
  if (bg) span.background = colour(bg);
  return span;
}

/** A colour of a program's own choice, as light or dark as is read on the ground of the theme. */
function readable(colour: string): string {
  return colour.startsWith("#")
    ? `oklch(from ${colour} clamp(var(--ansi-darkest), l, var(--ansi-lightest)) c h)`
    : colour;
}

/** A colour for CSS. The sixteen have a shade for each theme. */
function colour(name: string): string {
  if (name === "inverse") return "var(--surface)";
  if (name === "ink") return "var(--ink)";
  return name.startsWith("#") ? name : `var(--ansi-${name})`;
}

function changed(before: Look, codes: string): Look {
  const look = { ...before };
  // `38:2::r:g:b` and `38;2;r;g;b` both are in use.
  const numbers = codes.split(/[;:]/).map((each) => (each === "" ? 0 : Number(each)));
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] as number;
    if (code === 0) Object.assign(look, PLAIN);
    else if (code === 1) look.bold = true;
    else if (code === 2) look.dim = true;
    else if (code === 3) look.italic = true;
    else if (code === 4) look.underline = true;
    else if (code === 7) look.inverse = true;
    else if (code === 9) look.strike = true;
    else if (code === 22) look.bold = look.dim = false;
    else if (code === 23) look.italic = false;
    else if (code === 24) look.underline = false;
    else if (code === 27) look.inverse = false;
    else if (code === 29) look.strike = false;
    else if (code >= 30 && code <= 37) look.fg = String(code - 30);
    else if (code >= 90 && code <= 97) look.fg = String(code - 90 + 8);
    else if (code >= 40 && code <= 47) look.bg = String(code - 40);
    else if (code >= 100 && code <= 107) look.bg = String(code - 100 + 8);
    else if (code === 39) look.fg = "";
    else if (code === 49) look.bg = "";
    else if (code === 38 || code === 48) {
      const [name, used] = extended(numbers.slice(at + 1), codes.includes(":"));
      if (name) look[code === 38 ? "fg" : "bg"] = name;
      at += used;
    }
  }
  return look;
}

function extended(rest: number[], colons: boolean): [string, number] {
  if (rest[0] === 5) return [indexed(rest[1] ?? 0), 2];
  if (rest[0] !== 2) return ["", rest.length];
  const skip = colons && rest.length >= 5 ? 1 : 0; // a colour space, which nobody gives
  const [red, green, blue] = rest.slice(1 + skip, 4 + skip);
  return [hex(red ?? 0, green ?? 0, blue ?? 0), 4 + skip];
}

/** One of 256: the sixteen, a cube of 6 × 6 × 6, and 24 greys. */
function indexed(number: number): string {
  if (number < 16) return String(number);
  if (number > 255) return "";
  if (number >= 232) {
    const grey = 8 + 10 * (number - 232);
    return hex(grey, grey, grey);
  }
  const [red, green, blue] = [
    Math.floor((number - 16) / 36),
    Math.floor((number - 16) / 6) % 6,
    (number - 16) % 6,
  ];
  const step = (value: number) => (value ? 55 + 40 * value : 0);
  return hex(step(red), step(green), step(blue));
}

function hex(...parts: number[]): string {
  return `#${parts.map((each) => Math.min(255, each).toString(16).padStart(2, "0")).join("")}`;
}

/** The pieces with what was searched for cut out of them, to be marked. */
export function marked(pieces: Span[], matcher: Matcher): Array<Span & { mark?: boolean }> {
  const ranges = matcher.ranges(pieces.map((each) => each.text).join(""));
  if (ranges.length === 0) return pieces;
  const found: Array<Span & { mark?: boolean }> = [];
  let offset = 0;
  for (const piece of pieces) {
    let from = 0;
    for (const [begin, end] of ranges) {
      const start = Math.max(begin - offset, from);
      const stop = Math.min(end - offset, piece.text.length);
      if (stop <= start) continue;
      if (start > from) found.push({ ...piece, text: piece.text.slice(from, start) });
      found.push({ ...piece, text: piece.text.slice(start, stop), mark: true });
      from = stop;
    }
    if (from < piece.text.length) found.push({ ...piece, text: piece.text.slice(from) });
    offset += piece.text.length;
  }
  return found;
}

/** What is searched for: a text in any case, or `/a regular expression/`. */
export class Matcher {
  private expression: RegExp | null = null;
  private text: string;
  error = ""; // what is wrong with the expression

  constructor(wanted: string) {
    const pattern = /^\/(.+)\/([is]*)$/.exec(wanted);
    this.text = wanted.toLowerCase();
    if (!pattern) return;
    try {
      this.expression = new RegExp(pattern[1] as string, `g${pattern[2]}`);
    } catch (error) {
      this.error = error instanceof Error ? error.message : String(error);
    }
  }

  holds(text: string): boolean {
    if (this.error) return false;
    if (!this.expression) return text.toLowerCase().includes(this.text);
    this.expression.lastIndex = 0;
    return this.expression.test(text);
  }

  ranges(text: string): Array<[number, number]> {
    const found: Array<[number, number]> = [];
    if (this.error || !this.text) return found;
    if (this.expression) {
      for (const match of text.matchAll(this.expression)) {
        if (match[0]) found.push([match.index, match.index + match[0].length]);
        if (found.length === 100) break;
      }
      return found;
    }
    const low = text.toLowerCase();
    if (low.length !== text.length) return found; // a few letters have a lower case of another length
    for (
      let at = low.indexOf(this.text);
      at !== -1 && found.length < 100;
      at = low.indexOf(this.text, at + this.text.length)
    )
      found.push([at, at + this.text.length]);
    return found;
  }
}
