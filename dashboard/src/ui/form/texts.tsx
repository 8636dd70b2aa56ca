import clsx from "clsx";
import type { TextareaHTMLAttributes } from "react";
import { FIELD, Input } from "../input";
import type { FieldProps } from "./form";

/** Several lines of text. */
export function TextArea({ className, ...rest }: TextareaHTMLAttributes<HTMLTextAreaElement>) {
  return <textarea rows={3} {...rest} className={clsx(FIELD, "h-auto py-1.5", className)} />;
}

/** Words with commas between them, as people type them. */
export function words(text: string): string[] {
  return [
    ...new Set(
      text
        .split(",")
        .map((each) => each.trim())
        .filter(Boolean),
    ),
  ];
}

/** A text, its suggestions in a list of the browser's. */
export function Suggested({
  field,
  value,
  onChange,
  suggestions,
  ...rest
}: {
  field: FieldProps;
  value: string;
  onChange: (value: string) => void;
  suggestions: string[];
  placeholder?: string;
}) {
  return (
    <>
      <Input
        {...field}
        {...rest}
        list={`${field.id}-list`}
        value={value}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => onChange(event.target.value)}
      />
      <datalist id={`${field.id}-list`}>
        {suggestions.map((each) => (
          <option key={each} value={each} />
        ))}
      </datalist>
    </>
  );
}
