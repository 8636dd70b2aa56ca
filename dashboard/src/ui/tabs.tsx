import { Tabs as Radix } from "radix-ui";
import type { ReactNode } from "react";

export type Tab = { id: string; label: ReactNode; content: ReactNode };

/** Tabs whose open one the page keeps in its address. */
export function Tabs({
  tabs,
  open,
  onOpen,
  label,
}: {
  tabs: Tab[];
  open: string;
  onOpen: (id: string) => void;
  label: string;
}) {
  return (
    <Radix.Root value={open} onValueChange={onOpen} className="flex min-h-0 min-w-0 flex-col gap-4">
      <Radix.List aria-label={label} className="flex gap-1 overflow-x-auto border-b border-line">
        {tabs.map((each) => (
          <Radix.Trigger
            key={each.id}
            value={each.id}
            className="-mb-px shrink-0 border-b-2 border-transparent px-3 py-2 text-sm text-muted hover:text-ink focus-visible:outline-offset-[-2px] data-[state=active]:border-accent data-[state=active]:font-medium data-[state=active]:text-ink"
          >
            {each.label}
          </Radix.Trigger>
        ))}
      </Radix.List>
      {tabs.map((each) => (
        <Radix.Content key={each.id} value={each.id} className="min-h-0 min-w-0">
          {each.content}
        </Radix.Content>
      ))}
    </Radix.Root>
  );
}
