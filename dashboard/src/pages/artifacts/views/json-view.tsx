import { ChevronRight } from "lucide-react";
import { useMemo, useState } from "react";
import { ApiError } from "@/api/errors";
import { Card } from "@/ui/card";
import { count } from "@/ui/format";
import { ErrorView } from "@/ui/said";
import type { Shown } from "../contents";
import { CUT, type Part, readPart, tagOf } from "../json-part";
import { shown } from "../metadata";
import { Beginning, FIRST } from "./beginning";
import { Lines } from "./text-view";

const STEP = 100; // members of one list that are shown at a time
const LONGEST = 2000; // letters of one text

/** JSON as a tree; of a large file, what its beginning holds. */
export default function JsonView(given: Shown) {
  const [most, setMost] = useState(FIRST);
  return (
    <Card title={given.view.label} flush>
      <Beginning {...given} most={most} onMore={setMost}>
        {(text, whole) => <Tree text={text} whole={whole} />}
      </Beginning>
    </Card>
  );
}

function Tree({ text, whole }: { text: string; whole: boolean }) {
  const { value, wrong } = useMemo(() => readPart(text, whole), [text, whole]);
  if (wrong)
    return (
      <>
        <div className="p-4 pb-0">
          <ErrorView
            error={
              new ApiError(
                422,
                "LoadError",
                "this is no JSON",
                "it is torn, or was never JSON",
                "see it as text below",
              )
            }
          />
        </div>
        <Lines text={text} />
      </>
    );
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div tabIndex={0} className="max-h-[70vh] overflow-auto p-4 font-mono text-[13px] leading-6">
      <Node value={value} open />
    </div>
  );
}

function Node({ name, value: raw, open: begun = false }: { name?: string; value: Part; open?: boolean }) {
  const [open, setOpen] = useState(begun);
  const [most, setMost] = useState(STEP);
  const { value, tag } = untagged(raw);
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? numbered(value) : undefined;
  const label = name !== undefined && <span className="text-muted">{name}: </span>;
  if (!members)
    return (
      <div className="break-words whitespace-pre-wrap">
        {label}
        {tag && <span className="text-muted">{tag} </span>}
        <Scalar value={value as Exclude<Part, Part[] | Map<string, Part>>} />
      </div>
    );
  const [left, right] = value instanceof Map ? "{}" : "[]";
  const cut = members.some(([, each]) => each === CUT);
  const size = members.length - (cut ? 1 : 0);
  return (
    <div>
      <button
        type="button"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
        className="flex max-w-full items-center gap-1 text-left hover:bg-sunken"
      >
        <ChevronRight className={`size-3.5 shrink-0 text-muted ${open ? "rotate-90" : ""}`} aria-hidden />
        <span className="min-w-0 truncate">
          {label}
          {tag && <span className="text-muted">{tag} </span>}
          {left}
          <span className="text-muted">
            {count(size)}
            {cut && " or more"}
          </span>
          {right}
          {!open && <span className="text-muted"> {glance(value)}</span>}
        </span>
      </button>
      {open && (
        <div className="ml-1.5 border-l border-line pl-4">
          {members.slice(0, most).map(([key, each], at) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: a place is what tells members apart
            <Node key={at} name={key} value={each} />
          ))}
          {members.length > most && (
            <button type="button" className="text-accent underline" onClick={() => setMost(most + 10 * STEP)}>
              {count(members.length - most)} more
            </button>
          )}
        </div>
      )}
    </div>
  );
}

function Scalar({ value }: { value: null | boolean | number | string | typeof CUT }) {
  const [whole, setWhole] = useState(false);
  if (value === CUT) return <span className="text-muted italic">… the rest is not shown</span>;
  if (typeof value === "string") {
    const long = value.length > LONGEST && !whole;
    return (
      <span className="text-good">
        "{long ? value.slice(0, LONGEST) : value}
        {long && (
          <button type="button" className="text-accent underline" onClick={() => setWhole(true)}>
            … {count(value.length - LONGEST)} letters more
          </button>
        )}
        "
      </span>
    );
  }
  return <span className="text-busy">{String(value)}</span>;
}

/** The first few simple members, to tell what is folded up. */
function glance(value: Part): string {
  const members = value instanceof Map ? [...value] : Array.isArray(value) ? numbered(value.slice(0, 8)) : [];
  const told: string[] = [];
  for (const [key, each] of members.slice(0, 8)) {
    if (each === CUT || each instanceof Map || Array.isArray(each)) continue;
    const text =
      typeof each === "string" ? `"${each.slice(0, 24)}${each.length > 24 ? "…" : ""}"` : shown(each);
    told.push(value instanceof Map ? `${key}: ${text}` : text);
    if (told.length >= 4) break;
  }
  return told.join(", ");
}

function numbered(list: Part[]): Array<[string, Part]> {
  return list.map((each, at) => [String(at), each]);
}

/** What stands for a value of Python: its tag in words, and what is in it. */
function untagged(value: Part): { value: Part; tag?: string } {
  const found = tagOf(value);
  if (!found) return { value };
  const { tag, payload } = found;
  if (payload instanceof Map && typeof payload.get("type") === "string") {
    const inner =
      payload.get("fields") ?? payload.get("values") ?? payload.get("name") ?? payload.get("value");
    return { value: inner ?? payload, tag: String(payload.get("type")).split(":").pop() ?? tag };
  }
  if (tag === "float" || tag === "int") return { value: payload, tag: "" };
  return { value: payload, tag: tag === "part" ? "kept beside:" : tag };
}
