/** Which runs are looked for, as the address says it. */

export const STATES = ["queued", "running", "completed", "failed", "cancelled"] as const;
export type RunState = (typeof STATES)[number];

export type Filters = {
  name: string;
  state: RunState[];
  pipeline: string[];
  tag: string[];
  stack: string[];
  since: string; // `24h`, `7d`, or a moment in ISO 8601
  until: string;
  sort: string; // `created_at`, `name`, `duration`; `-` before it for the largest first
};

export const NONE: Filters = {
  name: "",
  state: [],
  pipeline: [],
  tag: [],
  stack: [],
  since: "",
  until: "",
  sort: "-created_at",
};

const SORTS = ["created_at", "name", "duration"];
const SPANS: Record<string, number> = { m: 60, h: 3600, d: 86_400 };
const MOST = 20; // of one kind: what the server takes

/** The filters that an address names; what makes no sense in it is as if it were not there. */
export function readFilters(search: Record<string, unknown>): Filters {
  const states = texts(search.state).filter((each): each is RunState =>
    (STATES as readonly string[]).includes(each),
  );
  const sort = text(search.sort);
  return {
    name: text(search.name).slice(0, 200),
    state: states,
    pipeline: texts(search.pipeline),
    tag: texts(search.tag),
    stack: texts(search.stack, true),
    since: moment(text(search.since)),
    until: moment(text(search.until)),
    sort: SORTS.includes(sort.replace(/^-/, "")) ? sort : NONE.sort,
  };
}

/** What the address says of filters: nothing of those that are as usual. */
export function writeFilters(filters: Filters): Partial<Filters> {
  return Object.fromEntries(
    Object.entries(filters).filter(([name, value]) =>
      Array.isArray(value) ? value.length > 0 : value !== NONE[name as keyof Filters],
    ),
  );
}

/** What the server is asked. Times that are told from now are taken from `now`, in milliseconds. */
export function question(filters: Filters, now: number) {
  const { name, state, pipeline, tag, stack, sort } = filters;
  return {
    ...(name && { name }),
    ...(state.length > 0 && { state }),
    ...(pipeline.length > 0 && { pipeline }),
    ...(tag.length > 0 && { tag }),
    ...(stack.length > 0 && { stack }),
    ...(filters.since && { since: absolute(filters.since, now) }),
    ...(filters.until && { until: absolute(filters.until, now) }),
    order: sort,
  };
}

/** Whether anything is filtered. */
export function isFiltered(filters: Filters): boolean {
  return Object.keys(writeFilters({ ...filters, sort: NONE.sort })).length > 0;
}

function absolute(told: string, now: number): string {
  const found = /^(\d+)([mhd])$/.exec(told);
  return found
    ? new Date(now - Number(found[1]) * (SPANS[found[2] as string] as number) * 1000).toISOString()
    : told;
}

function moment(told: string): string {
  if (/^[1-9]\d{0,3}[mhd]$/.test(told)) return told;
  const at = Date.parse(told);
  return /^\d{4}-\d{2}-\d{2}/.test(told) && !Number.isNaN(at) ? new Date(at).toISOString() : "";
}

function text(value: unknown): string {
  return typeof value === "string" || typeof value === "number" ? String(value) : "";
}

function texts(value: unknown, empty = false): string[] {
  const all = (Array.isArray(value) ? value : value === undefined ? [] : [value]).map(text);
  return [...new Set(all)].filter((each) => empty || each !== "").slice(0, MOST);
}
