/**
 * Values of JSON and the texts that people type for them, as `tilth … --param NAME=VALUE` reads them.
 *
 * What is refused here the server would refuse as well; it has the last word.
 */

/** What a pipeline declares of a parameter: `tilth.runtime.parameters.declared`. */
export type Declared = {
  type: string; // as people read it
  kind: string; // a built-in type of Python; empty where only code can judge
  required: boolean;
  choices?: string[];
  default?: unknown; // missing where JSON cannot tell it
};

export type Signature = Record<string, Declared>;

/** The signature of a snapshot; the API leaves its shape open. */
export function signatureOf(told: Record<string, unknown> | undefined): Signature {
  return (told ?? {}) as Signature;
}

/** A value as it is written on a command line. */
export function asText(value: unknown): string {
  if (value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const WORDS: Record<string, string> = { True: "true", False: "false", None: "null" };
const LISTS = new Set(["list", "tuple", "set", "frozenset"]);

/** What is wrong with a text for a parameter; empty when nothing is. */
export function problem(text: string, { kind, choices, type }: Declared): string {
  if (choices?.length) return choices.includes(text) ? "" : `Choose one of ${choices.join(", ")}.`;
  switch (kind) {
    case "int":
      return /^-?\d+$/.test(text.trim()) ? "" : "Give a whole number.";
    case "float":
      return isNumber(text) ? "" : "Give a number.";
    case "bool":
      return ["true", "false"].includes(WORDS[text] ?? text) ? "" : "Give true or false.";
    case "dict":
      return isRecord(parsed(text)) ? "" : `Give a JSON object: it is declared as ${type}.`;
    default:
      if (LISTS.has(kind)) return Array.isArray(parsed(text)) ? "" : `Give a JSON list, such as ["a", "b"].`;
      return "";
  }
}

/** A text as the JSON to send; as text where JSON would lose some of it, or only code knows what it is. */
export function jsonOf(text: string, { kind, choices }: Declared): unknown {
  if (choices?.length) return text;
  const trimmed = text.trim();
  if (kind === "int") return Number.isSafeInteger(Number(trimmed)) ? Number(trimmed) : trimmed;
  if (kind === "float") return Number.isFinite(Number(trimmed)) && trimmed !== "" ? Number(trimmed) : trimmed;
  if (kind === "bool") return (WORDS[text] ?? text) === "true";
  if (kind === "dict" || LISTS.has(kind)) return parsed(text);
  return text;
}

/** What a parameter is when a run is given nothing: the snapshot's, else the pipeline's default; undefined: unknown. */
export function usual(name: string, declared: Declared, parameters: Record<string, unknown>): unknown {
  return name in parameters ? parameters[name] : declared.default;
}

/** The texts that a form begins with: what is given, else what would be taken anyway. */
export function textsOf(
  signature: Signature,
  parameters: Record<string, unknown>,
  given: Record<string, unknown> = {},
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(signature).map(([name, declared]) => [
      name,
      asText(name in given ? given[name] : usual(name, declared, parameters)),
    ]),
  );
}

/**
 * The parameters that a form gives: those that differ from what would be taken anyway, and those that were given
 * before and were not let go. What is wrong is told by name.
 */
export function givenOf(
  signature: Signature,
  parameters: Record<string, unknown>,
  texts: Record<string, string>,
  pinned: ReadonlySet<string> = new Set(),
): { given: Record<string, unknown>; wrong: Record<string, string> } {
  const given: Record<string, unknown> = {};
  const wrong: Record<string, string> = {};
  for (const [name, declared] of Object.entries(signature)) {
    const text = texts[name] ?? "";
    const taken = usual(name, declared, parameters);
    const known = taken !== undefined;
    if (!known && text === "" && (declared.kind !== "str" || declared.required)) {
      if (declared.required && !pinned.has(name)) wrong[name] = "The pipeline needs this parameter.";
      continue;
    }
    if (!pinned.has(name) && text === (known ? asText(taken) : "")) continue;
    const said = problem(text, declared);
    if (said) wrong[name] = said;
    else given[name] = jsonOf(text, declared);
  }
  return { given, wrong };
}

function isNumber(text: string): boolean {
  const trimmed = text.trim();
  if (/^[+-]?(inf|infinity|nan)$/i.test(trimmed)) return true;
  return /^[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
