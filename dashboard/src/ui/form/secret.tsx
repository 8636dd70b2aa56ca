import { Check, Copy } from "lucide-react";
import { useState } from "react";
import { Button } from "../button";
import { copyText } from "../copy";

/** Something that is told this once: shown whole, with a button that copies it. */
export function ShownOnce({ value, what }: { value: string; what: string }) {
  const [copied, setCopied] = useState(false);
  return (
    <div className="space-y-2 rounded-md border border-line bg-wait-soft p-3 text-sm">
      <p className="font-medium text-wait">{what} is shown this once. Copy it now.</p>
      <div className="flex flex-wrap items-center gap-2">
        <code className="min-w-0 rounded bg-surface px-2 py-1 break-all" data-secret>
          {value}
        </code>
        <Button small onClick={() => void copyText(value).then(() => setCopied(true))}>
          {copied ? <Check /> : <Copy />} {copied ? "Copied" : "Copy"}
        </Button>
      </div>
    </div>
  );
}
