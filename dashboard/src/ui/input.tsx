import clsx from "clsx";
import { Search, X } from "lucide-react";
import { type InputHTMLAttributes, type Ref, type SelectHTMLAttributes, useEffect, useState } from "react";

export const FIELD =
  "h-8 w-full min-w-0 rounded-md border border-line-strong bg-surface px-2.5 text-sm placeholder:text-muted disabled:opacity-60 aria-invalid:border-bad";

export function Input({
  className,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { ref?: Ref<HTMLInputElement> }) {
  return <input {...rest} className={clsx(FIELD, className)} />;
}

/** The browser's own list of choices: it works on phones and by keyboard. */
export function Select({
  className,
  options,
  ...rest
}: SelectHTMLAttributes<HTMLSelectElement> & {
  options: Array<string | { value: string; label: string }>;
}) {
  return (
    <select {...rest} className={clsx(FIELD, "pr-1", className)}>
      {options.map((each) => {
        const { value, label } = typeof each === "string" ? { value: each, label: each } : each;
        return (
          <option key={value} value={value}>
            {label}
          </option>
        );
      })}
    </select>
  );
}

/** A field to search by; what is typed is told once the typing pauses. */
export function SearchField({
  value,
  onChange,
  label,
  className,
}: {
  value: string;
  onChange: (value: string) => void;
  label: string;
  className?: string;
}) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return;
    const timer = setTimeout(() => onChange(typed), 250);
    return () => clearTimeout(timer);
  }, [typed, value, onChange]);
  return (
    <div className={clsx("relative", className)}>
      <Search className="pointer-events-none absolute top-2 left-2.5 size-4 text-muted" aria-hidden />
      <input
        type="search"
        data-search
        aria-label={label}
        placeholder={label}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        className={clsx(FIELD, "px-8 [&::-webkit-search-cancel-button]:hidden")}
      />
      {typed && (
        <button
          type="button"
          aria-label="clear the search"
          className="absolute top-1 right-1 flex size-6 items-center justify-center rounded text-muted hover:text-ink"
          onClick={() => {
            setTyped("");
            onChange("");
          }}
        >
          <X className="size-4" />
        </button>
      )}
    </div>
  );
}
