import {
  createContext,
  type FormEvent,
  type ReactNode,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import { told } from "@/api/errors";
import { Button } from "../button";
import { ErrorView, sentence } from "../said";
import { fieldOf, Wrong } from "./wrong";

type Known = { wrong: Record<string, string>; know: (name: string) => () => void };

const FormContext = createContext<Known>({ wrong: {}, know: () => () => {} });

/**
 * A form: one button does its work, and what is wrong is said beside the field that it is of, else above the fields.
 *
 * While the work goes on nothing can be sent twice. What was typed stays whatever happens.
 */
export function Form({
  onSubmit,
  action,
  onCancel,
  children,
  danger = false,
  extra,
}: {
  onSubmit: () => Promise<unknown>;
  action: string; // what the button does
  onCancel?: () => void;
  children: ReactNode;
  danger?: boolean;
  extra?: ReactNode; // beside the button
}) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const known = useRef(new Set<string>());
  const form = useRef<HTMLFormElement>(null);
  const know = useRef((name: string) => {
    known.current.add(name);
    return () => void known.current.delete(name);
  });

  useEffect(() => {
    if (Object.keys(wrong).length === 0) return;
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [wrong]);

  // What is said above the fields may be out of sight where the button is.
  useEffect(() => {
    if (error !== null) form.current?.querySelector("[role=alert]")?.scrollIntoView({ block: "nearest" });
  }, [error]);

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation(); // a form in a dialog is, for React, within the form behind it
    if (busy) return;
    setBusy(true);
    setError(null);
    setWrong({});
    try {
      await onSubmit();
    } catch (failed) {
      if (failed instanceof Wrong) setWrong(failed.fields);
      else {
        const { summary, why, mend } = told(failed);
        const typed = Object.fromEntries(
          [...new FormData(form.current ?? undefined)].map(([name, value]) => [name, String(value)]),
        );
        const name = fieldOf(summary, known.current, typed);
        if (name) setWrong({ [name]: [summary, why, mend].filter(Boolean).map(sentence).join(" ") });
        else setError(failed);
      }
    }
    setBusy(false);
  };

  return (
    <FormContext value={{ wrong, know: know.current }}>
      <form ref={form} onSubmit={submit} className="flex flex-col gap-4">
        {error !== null && <ErrorView error={error} />}
        {children}
        <div className="flex flex-wrap items-center gap-2">
          <Button type="submit" look={danger ? "danger" : "primary"} busy={busy}>
            {action}
          </Button>
          {onCancel && <Button onClick={onCancel}>Cancel</Button>}
          {extra}
        </div>
      </form>
    </FormContext>
  );
}

export type FieldProps = {
  id: string;
  name: string;
  required: boolean | undefined;
  "aria-invalid": boolean | undefined;
  "aria-describedby": string | undefined;
};

/** A labelled field, with what it takes below it, and what is wrong with it. */
export function Field({
  name,
  label,
  hint,
  required = false,
  aside,
  children,
}: {
  name: string; // as the server's errors call it
  label: ReactNode;
  hint?: ReactNode;
  required?: boolean;
  aside?: ReactNode; // at the end of the label's line
  children: (props: FieldProps) => ReactNode;
}) {
  const { wrong, know } = useContext(FormContext);
  useEffect(() => know(name), [know, name]);
  // A form in a dialog has fields of the same names as the one behind it.
  const id = `${useId()}-${name}`;
  const said = wrong[name];
  const describedBy = [hint && `${id}-hint`, said && `${id}-wrong`].filter(Boolean).join(" ");
  return (
    <div className="flex min-w-0 flex-col gap-1">
      <div className="flex min-h-6 flex-wrap items-center justify-between gap-2">
        <label htmlFor={id} className="text-sm font-medium">
          {label}
          {required && (
            <span aria-hidden className="text-bad">
              {" *"}
            </span>
          )}
        </label>
        {aside}
      </div>
      {children({
        id,
        name,
        required: required || undefined,
        "aria-invalid": said ? true : undefined,
        "aria-describedby": describedBy || undefined,
      })}
      {hint && (
        <div id={`${id}-hint`} className="text-xs break-words text-muted">
          {hint}
        </div>
      )}
      {said && (
        <p id={`${id}-wrong`} role="alert" className="text-sm break-words text-bad">
          {said}
        </p>
      )}
    </div>
  );
}

/** One of a few, all in sight. */
export function Choice<T extends string>({
  name,
  legend,
  value,
  onChange,
  options,
}: {
  name: string;
  legend: string;
  value: T;
  onChange: (value: T) => void;
  options: Array<{ value: T; label: string; about?: string }>;
}) {
  return (
    <fieldset className="min-w-0">
      <legend className="mb-1 text-sm font-medium">{legend}</legend>
      <div className="flex flex-wrap gap-x-5 gap-y-1.5">
        {options.map((each) => (
          <label key={each.value} className="flex items-center gap-2 text-sm" title={each.about}>
            <input
              type="radio"
              name={name}
              value={each.value}
              checked={each.value === value}
              onChange={() => onChange(each.value)}
              className="size-4 accent-(--accent)"
            />
            {each.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** On or off. */
export function Check({
  name,
  label,
  checked,
  onChange,
  hint,
}: {
  name: string;
  label: ReactNode;
  checked: boolean;
  onChange: (checked: boolean) => void;
  hint?: ReactNode;
}) {
  return (
    <label className="flex items-start gap-2 text-sm">
      <input
        type="checkbox"
        name={name}
        checked={checked}
        onChange={(event) => onChange(event.target.checked)}
        className="mt-0.5 size-4 shrink-0 accent-(--accent)"
      />
      <span>
        {label}
        {hint && <span className="block text-xs text-muted">{hint}</span>}
      </span>
    </label>
  );
}
