import { useMemo, useState } from "react";
import { Button } from "../button";
import { Input, Select } from "../input";
import { Badge } from "../state";
import { Field } from "./form";
import { TextArea } from "./texts";
import { type Declared, givenOf, type Signature, textsOf, usual } from "./values";
import { Wrong } from "./wrong";

/** The state of a form for a pipeline's parameters. */
export type Parameters = {
  signature: Signature;
  parameters: Record<string, unknown>; // what is taken where nothing is given
  texts: Record<string, string>;
  pinned: ReadonlySet<string>; // given before
  set: (name: string, text: string) => void;
  letGo: (name: string) => void; // what would be taken anyway is taken
  given: () => Record<string, unknown>; // throws `Wrong`
};

export function useParameters(
  signature: Signature,
  parameters: Record<string, unknown>,
  before?: Record<string, unknown>,
): Parameters {
  const [changed, setChanged] = useState<Record<string, string>>({});
  const [dropped, setDropped] = useState<ReadonlySet<string>>(new Set());
  return useMemo(() => {
    const kept = Object.fromEntries(
      Object.entries(before ?? {}).filter(([name]) => name in signature && !dropped.has(name)),
    );
    const pinned = new Set(Object.keys(kept));
    const texts = {
      ...textsOf(signature, parameters, kept),
      ...Object.fromEntries(Object.entries(changed).filter(([name]) => name in signature)),
    };
    return {
      signature,
      parameters,
      texts,
      pinned,
      set: (name, text) => setChanged((was) => ({ ...was, [name]: text })),
      letGo: (name) => {
        setDropped((was) => new Set([...was, name]));
        setChanged(({ [name]: _, ...rest }) => rest);
      },
      given: () => {
        const { given, wrong } = givenOf(signature, parameters, texts, pinned);
        if (Object.keys(wrong).length) throw new Wrong(wrong);
        return given;
      },
    };
  }, [signature, parameters, before, changed, dropped]);
}

/** A field for each parameter of a pipeline, by its declared type. */
export function ParameterFields({ form, whose = "the snapshot" }: { form: Parameters; whose?: string }) {
  const names = Object.keys(form.signature);
  if (names.length === 0) return <p className="text-sm text-muted">This pipeline has no parameters.</p>;
  return (
    <div className="grid gap-4 sm:grid-cols-2">
      {names.map((name) => {
        const declared = form.signature[name] as Declared;
        const text = form.texts[name] ?? "";
        const taken = usual(name, declared, form.parameters);
        const [same] = [textsOf({ [name]: declared }, form.parameters)[name]];
        const differs = form.pinned.has(name) || text !== same;
        const wide = ["dict", "list", "tuple", "set", "frozenset"].includes(declared.kind);
        return (
          <div key={name} className={wide ? "sm:col-span-2" : ""}>
            <Field
              name={name}
              label={<code>{name}</code>}
              required={declared.required && taken === undefined}
              hint={
                <>
                  <code>{declared.type}</code>
                  {taken === undefined && !declared.required && ", by default what the code says"}
                </>
              }
              aside={
                differs &&
                (taken !== undefined || !declared.required) && (
                  <span className="flex items-center gap-1">
                    <Badge tone="busy">{form.pinned.has(name) ? "given" : "changed"}</Badge>
                    <Button
                      small
                      look="quiet"
                      className="h-5!"
                      onClick={() => form.letGo(name)}
                      aria-label={`Undo: take ${name} from ${whose}`}
                    >
                      Undo
                    </Button>
                  </span>
                )
              }
            >
              {(field) => {
                if (declared.choices?.length || declared.kind === "bool") {
                  const options = declared.choices ?? ["true", "false"];
                  const none = taken === undefined ? [{ value: "", label: "–" }] : [];
                  const odd = text !== "" && !options.includes(text) ? [text] : [];
                  return (
                    <Select
                      {...field}
                      value={text}
                      options={[...none, ...odd, ...options]}
                      onChange={(event) => form.set(name, event.target.value)}
                    />
                  );
                }
                if (wide) {
                  return (
                    <TextArea
                      {...field}
                      className="font-mono text-[13px]"
                      spellCheck={false}
                      value={text}
                      onChange={(event) => form.set(name, event.target.value)}
                    />
                  );
                }
                return (
                  <Input
                    {...field}
                    value={text}
                    spellCheck={false}
                    autoComplete="off"
                    inputMode={
                      declared.kind === "int" ? "numeric" : declared.kind === "float" ? "decimal" : undefined
                    }
                    onChange={(event) => form.set(name, event.target.value)}
                  />
                );
              }}
            </Field>
          </div>
        );
      })}
    </div>
  );
}
