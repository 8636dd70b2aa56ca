import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, data } from "@/api/client";
import { told } from "@/api/errors";
import type { components } from "@/api/schema";
import { TargetFields, useTarget } from "@/pages/snapshots/target";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Check, Choice, Field, Form } from "@/ui/form/form";
import { ParameterFields } from "@/ui/form/parameter-fields";
import { Suggested } from "@/ui/form/texts";
import { Wrong } from "@/ui/form/wrong";
import { ago } from "@/ui/format";
import { Input, Select } from "@/ui/input";
import { sentence } from "@/ui/said";
import { useNow } from "@/ui/time";
import { type Schedule, times, type When } from "./queries";
import { fromField, inSeconds, inUnits, type Rhythm, toField, type Unit } from "./rhythm";

type Overlap = components["schemas"]["Overlap"];
const UNITS: Unit[] = ["minutes", "hours", "days", "seconds"];

/** Makes a schedule, or changes one; its next times are shown while one types. */
export function ScheduleForm({
  before,
  snapshot: chosen = "",
  onDone,
  onCancel,
}: {
  before?: Schedule;
  snapshot?: string; // the name of one to begin with
  onDone: (made: Schedule) => void | Promise<void>;
  onCancel: () => void;
}) {
  const project = useProject();
  const client = useQueryClient();
  const [rhythm, setRhythm] = useState<Rhythm>(before?.every_s ? "every" : before?.at ? "at" : "cron");
  const [cron, setCron] = useState(before?.cron || "30 6 * * *");
  const [timezone, setTimezone] = useState(before?.timezone ?? ownZone());
  const units = inUnits(before?.every_s || 3600);
  const [count, setCount] = useState(units.count);
  const [unit, setUnit] = useState<Unit>(units.unit);
  const [at, setAt] = useState(toField(before?.at));
  const [begins, setBegins] = useState(toField(before?.begins_at));
  const [ends, setEnds] = useState(toField(before?.ends_at));
  const [catchUp, setCatchUp] = useState(before?.catch_up ?? false);
  const [overlap, setOverlap] = useState<Overlap>(before?.overlap ?? "allow");

  const target = useTarget(project, before, chosen);

  const when: When = {
    cron: rhythm === "cron" ? cron.trim() : "",
    timezone: timezone.trim(),
    every_s: rhythm === "every" ? (inSeconds(count, unit) ?? 0) : 0,
    at: rhythm === "at" ? fromField(at) : null,
    begins_at: fromField(begins),
    ends_at: fromField(ends),
  };

  const submit = async () => {
    const snapshot = target.chosen();
    if (rhythm === "every" && !when.every_s) throw new Wrong({ every_s: "Give a whole number from 1." });
    if (rhythm === "at" && !when.at) throw new Wrong({ at: "Give a day and a time." });
    const body = {
      ...when,
      snapshot,
      parameters: target.form.given(),
      catch_up: catchUp,
      overlap,
    };
    const path = { project };
    const made = before
      ? await data(
          api.PATCH("/api/v1/projects/{project}/schedules/{name}", {
            params: { path: { project, name: before.name } },
            body,
          }),
        )
      : await data(
          api.POST("/api/v1/projects/{project}/schedules", {
            params: { path },
            body: { ...body, name: target.name.trim() },
          }),
        );
    await client.invalidateQueries({ queryKey: ["schedules", project] });
    await onDone(made);
  };

  if (target.hasNone) {
    return (
      <Card title="A snapshot comes first">
        <div className="space-y-3 text-sm">
          <p>
            A schedule starts runs of a snapshot, and this project has none yet. Make one where the code is:
          </p>
          <Command>tilth snapshots create pipeline.py --name nightly</Command>
        </div>
      </Card>
    );
  }
  return (
    <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
      <Card>
        <Form action={before ? "Save" : "Make the schedule"} onSubmit={submit} onCancel={onCancel}>
          <TargetFields target={target} placeholder="nightly" />
          <Choice
            name="rhythm"
            legend="When"
            value={rhythm}
            onChange={setRhythm}
            options={[
              { value: "cron", label: "by the clock" },
              { value: "every", label: "every so often" },
              { value: "at", label: "once" },
            ]}
          />
          {rhythm === "cron" && (
            <div className="grid gap-4 sm:grid-cols-2">
              <Field
                name="cron"
                label="Minute, hour, day, month, weekday"
                required
                hint={
                  <>
                    As cron has it: <code>30 6 * * mon-fri</code>, <code>*/15 8-18 * * *</code>
                  </>
                }
              >
                {(field) => (
                  <Input
                    {...field}
                    className="font-mono"
                    value={cron}
                    spellCheck={false}
                    autoComplete="off"
                    onChange={(event) => setCron(event.target.value)}
                  />
                )}
              </Field>
              <Field name="timezone" label="Time zone" required hint="Whose clock on the wall it goes by.">
                {(field) => (
                  <Suggested field={field} value={timezone} onChange={setTimezone} suggestions={zones()} />
                )}
              </Field>
            </div>
          )}
          {rhythm === "every" && (
            <Field name="every_s" label="Every" required>
              {(field) => (
                <div className="flex max-w-xs gap-2">
                  <Input
                    {...field}
                    inputMode="numeric"
                    value={count}
                    onChange={(event) => setCount(event.target.value)}
                  />
                  <Select
                    aria-label="unit of time"
                    value={unit}
                    options={UNITS}
                    onChange={(event) => setUnit(event.target.value as Unit)}
                  />
                </div>
              )}
            </Field>
          )}
          {rhythm === "at" && (
            <Field name="at" label="At" required hint={`By your clock: ${ownZone()}.`}>
              {(field) => (
                <Input
                  {...field}
                  className="max-w-xs"
                  type="datetime-local"
                  value={at}
                  onChange={(event) => setAt(event.target.value)}
                />
              )}
            </Field>
          )}
          {rhythm !== "at" && (
            <div className="grid gap-4 sm:grid-cols-2">
              <Field name="begins_at" label="Not before" hint="By your clock; empty: at once.">
                {(field) => (
                  <Input
                    {...field}
                    type="datetime-local"
                    value={begins}
                    onChange={(event) => setBegins(event.target.value)}
                  />
                )}
              </Field>
              <Field name="ends_at" label="Not after" hint="By your clock; empty: for good.">
                {(field) => (
                  <Input
                    {...field}
                    type="datetime-local"
                    value={ends}
                    onChange={(event) => setEnds(event.target.value)}
                  />
                )}
              </Field>
            </div>
          )}
          <div className="grid gap-4 sm:grid-cols-2">
            <Field name="overlap" label="While a run of it goes on, the next">
              {(field) => (
                <Select
                  {...field}
                  value={overlap}
                  onChange={(event) => setOverlap(event.target.value as Overlap)}
                  options={[
                    { value: "allow", label: "is started all the same" },
                    { value: "skip", label: "is left out" },
                    { value: "wait", label: "waits for its end" },
                    { value: "cancel", label: "ends it, and starts" },
                  ]}
                />
              )}
            </Field>
            <div className="self-end pb-1">
              <Check
                name="catch_up"
                label="Catch up on what was missed"
                hint="While the server was away; else the newest missed alone is started."
                checked={catchUp}
                onChange={setCatchUp}
              />
            </div>
          </div>
          <section className="space-y-3 border-t border-line pt-4">
            <h3 className="text-sm font-semibold">Parameters</h3>
            <ParameterFields form={target.form} />
          </section>
        </Form>
      </Card>
      <NextTimes when={when} />
    </div>
  );
}

/** When runs would be due, as the server counts. */
export function NextTimes({ when, title = "Its next times" }: { when: When; title?: string }) {
  const project = useProject();
  const now = useNow(10_000);
  const [settled, setSettled] = useState(when);
  const text = JSON.stringify(when);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(JSON.parse(text)), 300);
    return () => clearTimeout(timer);
  }, [text]);
  const said = Boolean(settled.cron || settled.every_s || settled.at);
  const query = useQuery({
    ...times(project, settled),
    enabled: said,
    placeholderData: keepPreviousData,
  });
  const zone = settled.cron ? (settled.timezone ?? "UTC") : ownZone();
  return (
    <Card title={title}>
      <div aria-live="polite" className="min-h-36 text-sm">
        {!said ? (
          <p className="text-muted">Say when, and they are shown here.</p>
        ) : query.error ? (
          <p className="text-bad">
            {sentence(told(query.error).summary)} {told(query.error).mend && sentence(told(query.error).mend)}
          </p>
        ) : query.data?.items.length === 0 ? (
          <p className="text-bad">Never: all of its times are over.</p>
        ) : (
          <ol className="space-y-1.5" data-times>
            {query.data?.items.map((each) => (
              <li key={each} className="flex flex-wrap justify-between gap-x-4">
                <time dateTime={each} title={`${ownTime(each)} by your clock`} className="tabular-nums">
                  {inZone(each, zone)}
                </time>
                <span className="text-muted">{ago(each, now)}</span>
              </li>
            ))}
          </ol>
        )}
      </div>
      {said && !query.error && <p className="mt-2 text-xs text-muted">By the clock of {zone}.</p>}
    </Card>
  );
}

function ownZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

function zones(): string[] {
  const known = (Intl as { supportedValuesOf?: (what: string) => string[] }).supportedValuesOf;
  return ["UTC", ...(known ? known.call(Intl, "timeZone") : [])];
}

const LOOK: Intl.DateTimeFormatOptions = {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
};

function ownTime(moment: string): string {
  return new Date(moment).toLocaleString("en-GB", LOOK);
}

function inZone(moment: string, timeZone: string): string {
  try {
    return new Date(moment).toLocaleString("en-GB", { ...LOOK, timeZone });
  } catch {
    return ownTime(moment); // a zone that the server knows and this browser does not
  }
}
