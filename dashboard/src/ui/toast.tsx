import { X } from "lucide-react";
import { useSyncExternalStore } from "react";
import { told } from "@/api/errors";
import { IconButton } from "./button";
import { sentence } from "./said";

type Note = { id: number; text: string; more: string; bad: boolean };

let notes: Note[] = [];
let last = 0;
const listeners = new Set<() => void>();

function change(next: Note[]) {
  notes = next;
  for (const each of listeners) each();
}

function add(text: string, more: string, bad: boolean) {
  last += 1;
  const id = last;
  change([...notes.slice(-3), { id, text, more, bad }]);
  // An error stays until it was read; good news goes by itself.
  if (!bad) setTimeout(() => change(notes.filter((each) => each.id !== id)), 5000);
}

/** Tell what was done, or what failed, in a corner. */
export const toast = {
  done: (text: string) => add(text, "", false),
  failed(error: unknown) {
    const { summary, why, mend } = told(error);
    add(sentence(summary), [why, mend].filter(Boolean).map(sentence).join(" "), true);
  },
};

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => notes,
  );
  return (
    <section
      aria-label="notices"
      aria-live="polite"
      className="fixed right-4 bottom-4 z-50 flex w-[min(24rem,calc(100vw-2rem))] flex-col gap-2"
    >
      {shown.map((each) => (
        <div
          key={each.id}
          className={`flex items-start gap-2 rounded-md border border-line p-3 text-sm shadow-pop ${each.bad ? "bg-bad-soft" : "bg-surface"}`}
        >
          <div className="min-w-0 grow">
            <p className={`break-words ${each.bad ? "font-semibold text-bad" : ""}`}>{each.text}</p>
            {each.more && <p className="break-words">{each.more}</p>}
          </div>
          <IconButton
            label="close the notice"
            className="-mt-1.5 -mr-1.5"
            onClick={() => change(notes.filter((one) => one.id !== each.id))}
          >
            <X />
          </IconButton>
        </div>
      ))}
    </section>
  );
}
