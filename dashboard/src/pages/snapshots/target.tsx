import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { type ReactNode, useMemo, useState } from "react";
import { Field } from "@/ui/form/form";
import { useParameters } from "@/ui/form/parameter-fields";
import { asText, signatureOf } from "@/ui/form/values";
import { Wrong } from "@/ui/form/wrong";
import { Input, Select } from "@/ui/input";
import { newest } from "./queries";

const NONE: Record<string, unknown> = {};

/** What a schedule or webhook starts: a snapshot by its name, with parameters. */
export function useTarget(
  project: string,
  before?: { name: string; snapshot: string; parameters?: Record<string, unknown> },
  begin = "", // the name of a snapshot
) {
  const known = useQuery(newest(project));
  const [name, setName] = useState(before?.name ?? "");
  const [snapshot, setSnapshot] = useState(before?.snapshot ?? begin);
  const choices = known.data ?? [];
  const wanted = choices.find((each) => each.name === snapshot) ?? (snapshot ? undefined : choices[0]);
  const signature = useMemo(() => signatureOf(wanted?.signature), [wanted]);
  const taken = useMemo(() => wanted?.parameters ?? NONE, [wanted]);
  const form = useParameters(signature, taken, before?.parameters);
  return {
    name,
    setName,
    snapshot,
    setSnapshot,
    choices,
    wanted,
    signature,
    form,
    isNew: before === undefined,
    hasNone: known.data !== undefined && choices.length === 0,
    /** Its snapshot's name; throws what stands beside the field when there is none. */
    chosen(): string {
      if (!wanted) throw new Wrong({ snapshot: "Choose a snapshot." });
      return wanted.name;
    },
  };
}

/** Asks for the name of something new, and the snapshot that it starts. */
export function TargetFields({
  target,
  placeholder,
}: {
  target: ReturnType<typeof useTarget>;
  placeholder: string;
}) {
  const { snapshot, wanted } = target;
  return (
    <div className="grid gap-4 sm:grid-cols-2">
      {target.isNew && (
        <Field name="name" label="Name" required hint="Letters, digits, hyphens, dots and underscores.">
          {(field) => (
            <Input
              {...field}
              value={target.name}
              placeholder={placeholder}
              maxLength={100}
              spellCheck={false}
              autoComplete="off"
              onChange={(event) => target.setName(event.target.value)}
            />
          )}
        </Field>
      )}
      <Field name="snapshot" label="Snapshot" required hint="Its newest version is started.">
        {(field) => (
          <Select
            {...field}
            value={wanted?.name ?? snapshot}
            onChange={(event) => target.setSnapshot(event.target.value)}
            options={[
              ...(snapshot && !wanted
                ? [{ value: snapshot, label: `${snapshot} (not there any more)` }]
                : []),
              ...target.choices.map((each) => ({
                value: each.name,
                label: `${each.name} (pipeline ${each.pipeline})`,
              })),
            ]}
          />
        )}
      </Field>
    </div>
  );
}

/** The same as facts: which snapshot is started, with what. */
export function targetFacts(
  project: string,
  snapshot: string,
  given: Array<[string, unknown]>,
): Array<[string, ReactNode] | false> {
  return [
    [
      "snapshot",
      <Link
        key="s"
        to="/p/$project/snapshots"
        params={{ project }}
        search={{ q: snapshot }}
        className="text-accent hover:underline"
      >
        {snapshot}, its newest version
      </Link>,
    ],
    given.length > 0 && [
      "parameters",
      given.map(([key, value]) => (
        <code key={key} className="mr-2">
          {key}={asText(value)}
        </code>
      )),
    ],
  ];
}
