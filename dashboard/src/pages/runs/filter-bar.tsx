import { useQuery } from "@tanstack/react-query";
import { ChevronDown, X } from "lucide-react";
import { type ReactNode, useState } from "react";
import { api, data } from "@/api/client";
import { Button, buttonClass } from "@/ui/button";
import { exact } from "@/ui/format";
import { Input, SearchField, Select } from "@/ui/input";
import { Menu, MenuCheck, MenuLabel } from "@/ui/menu";
import { State } from "@/ui/state";
import { type Filters, isFiltered, NONE, type RunState, STATES } from "./filters";

const TIMES = [
  { value: "", label: "any time" },
  { value: "1h", label: "last hour" },
  { value: "24h", label: "last 24 hours" },
  { value: "7d", label: "last 7 days" },
  { value: "30d", label: "last 30 days" },
  { value: "90d", label: "last 90 days" },
];

/** What is looked for, and what can be. */
export function FilterBar({
  project,
  filters,
  onChange,
  withPipeline = true,
}: {
  project: string;
  filters: Filters;
  onChange: (filters: Filters) => void;
  withPipeline?: boolean;
}) {
  const set = (change: Partial<Filters>) => onChange({ ...filters, ...change });
  const [near, setNear] = useState(false); // somebody points at the choice of pipelines
  const pipelines = useQuery({
    queryKey: ["pipelines", project, "names"],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/pipelines", {
          params: { path: { project }, query: { limit: 100 } },
        }),
      ),
    enabled: withPipeline && near,
    staleTime: 60_000,
  });
  const stacks = useQuery({
    queryKey: ["stacks", project, "names"],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/stacks", {
          params: { path: { project }, query: { limit: 100 } },
        }),
      ),
    staleTime: 60_000,
  });
  const names = union(pipelines.data?.items.map((each) => each.name) ?? [], filters.pipeline);
  const stackNames = union(["", ...(stacks.data?.items.map((each) => each.name) ?? [])], filters.stack);
  const [tag, setTag] = useState("");
  const custom =
    filters.until !== "" || (filters.since !== "" && !TIMES.some(({ value }) => value === filters.since));

  return (
    <div className="flex min-w-0 grow flex-col gap-2 py-1">
      <div className="flex flex-wrap items-center gap-2">
        <SearchField
          value={filters.name}
          onChange={(name) => set({ name })}
          label="Search runs by name"
          className="w-full sm:w-56"
        />
        <Choice label="State" chosen={filters.state.length}>
          {STATES.map((each) => (
            <MenuCheck
              key={each}
              checked={filters.state.includes(each)}
              onChange={(on) => set({ state: turned(filters.state, each, on) as RunState[] })}
            >
              <State state={each} bare />
            </MenuCheck>
          ))}
        </Choice>
        {withPipeline && (
          <Choice label="Pipeline" chosen={filters.pipeline.length} onNear={() => setNear(true)}>
            <MenuLabel>
              {names.length
                ? "Pipelines with runs"
                : pipelines.isPending
                  ? "loading …"
                  : "No pipeline has runs yet"}
            </MenuLabel>
            {names.map((each) => (
              <MenuCheck
                key={each}
                checked={filters.pipeline.includes(each)}
                onChange={(on) => set({ pipeline: turned(filters.pipeline, each, on) })}
              >
                {each}
              </MenuCheck>
            ))}
          </Choice>
        )}
        <Choice label="Stack" chosen={filters.stack.length}>
          {stackNames.map((each) => (
            <MenuCheck
              key={each}
              checked={filters.stack.includes(each)}
              onChange={(on) => set({ stack: turned(filters.stack, each, on) })}
            >
              {each || "local: no stack"}
            </MenuCheck>
          ))}
        </Choice>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            if (tag.trim()) set({ tag: turned(filters.tag, tag.trim(), true) });
            setTag("");
          }}
        >
          <Input
            value={tag}
            onChange={(event) => setTag(event.target.value)}
            aria-label="filter by a tag; Enter adds it"
            placeholder="Tag"
            className="w-24!"
          />
        </form>
        <Select
          aria-label="when runs were started"
          className="w-36!"
          value={custom ? "custom" : filters.since}
          options={[...TIMES, { value: "custom", label: "from … to …" }]}
          onChange={(event) => {
            const value = event.target.value;
            if (value !== "custom") set({ since: value, until: "" });
            else
              set({
                since: new Date(Date.now() - 86_400_000).toISOString(),
                until: new Date().toISOString(),
              });
          }}
        />
        {custom && (
          <>
            <Moment label="started after" value={filters.since} onChange={(since) => set({ since })} />
            <Moment label="started before" value={filters.until} onChange={(until) => set({ until })} />
          </>
        )}
        {isFiltered(filters) && (
          <Button small look="quiet" onClick={() => onChange({ ...NONE, sort: filters.sort })}>
            <X /> Clear
          </Button>
        )}
      </div>
      {(filters.tag.length > 0 ||
        filters.pipeline.length > 0 ||
        filters.state.length > 0 ||
        filters.stack.length > 0) && (
        <ul aria-label="filters" className="flex flex-wrap gap-1.5">
          {filters.state.map((each) => (
            <Chip
              key={`state ${each}`}
              onRemove={() => set({ state: turned(filters.state, each, false) as RunState[] })}
            >
              {each}
            </Chip>
          ))}
          {withPipeline &&
            filters.pipeline.map((each) => (
              <Chip
                key={`pipeline ${each}`}
                onRemove={() => set({ pipeline: turned(filters.pipeline, each, false) })}
              >
                pipeline {each}
              </Chip>
            ))}
          {filters.stack.map((each) => (
            <Chip key={`stack ${each}`} onRemove={() => set({ stack: turned(filters.stack, each, false) })}>
              {each ? `stack ${each}` : "no stack"}
            </Chip>
          ))}
          {filters.tag.map((each) => (
            <Chip key={`tag ${each}`} onRemove={() => set({ tag: turned(filters.tag, each, false) })}>
              tag {each}
            </Chip>
          ))}
        </ul>
      )}
    </div>
  );
}

function Choice({
  label,
  chosen,
  onNear,
  children,
}: {
  label: string;
  chosen: number;
  onNear?: () => void; // somebody is about to open it
  children: ReactNode;
}) {
  return (
    <Menu
      trigger={
        <button
          type="button"
          onPointerEnter={onNear}
          onFocus={onNear}
          className={buttonClass("plain", false, chosen ? "border-accent!" : "")}
        >
          {label}
          {chosen > 0 && <span className="rounded bg-accent-soft px-1 text-xs">{chosen}</span>}
          <ChevronDown aria-hidden />
        </button>
      }
    >
      {children}
    </Menu>
  );
}

function Chip({ children, onRemove }: { children: ReactNode; onRemove: () => void }) {
  return (
    <li className="inline-flex max-w-full items-center gap-1 rounded-full bg-accent-soft py-0.5 pr-1 pl-2.5 text-xs">
      <span className="truncate">{children}</span>
      <button
        type="button"
        aria-label="take this filter away"
        className="flex size-5 items-center justify-center rounded-full hover:bg-surface"
        onClick={onRemove}
      >
        <X className="size-3" />
      </button>
    </li>
  );
}

function Moment({
  label,
  value,
  onChange,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
}) {
  const at = Date.parse(value);
  // The browser's field has no zone: it shows the reader's own.
  const local = Number.isNaN(at)
    ? ""
    : new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  return (
    <Input
      type="datetime-local"
      aria-label={label}
      title={value ? exact(value) : label}
      className="w-48!"
      value={local}
      onChange={(event) => {
        const told = new Date(event.target.value);
        onChange(Number.isNaN(told.getTime()) ? "" : told.toISOString());
      }}
    />
  );
}

function turned<T>(all: T[], one: T, on: boolean): T[] {
  return on ? [...all.filter((each) => each !== one), one] : all.filter((each) => each !== one);
}

function union(known: string[], chosen: string[]): string[] {
  return [...new Set([...known, ...chosen])];
}
