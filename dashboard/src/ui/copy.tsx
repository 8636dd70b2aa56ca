import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { IconButton } from "./button";

export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Over plain HTTP browsers have no clipboard of their own.
  const field = document.createElement("textarea");
  field.value = text;
  field.style.position = "fixed";
  field.style.opacity = "0";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

export function CopyButton({ text, label = "copy" }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <IconButton
      label={copied ? "copied" : label}
      className="size-7!"
      onClick={() => copyText(text).then(() => setCopied(true))}
    >
      {copied ? <Check className="text-good" /> : <Copy />}
    </IconButton>
  );
}

/** A command to type, with a button that copies it. */
export function Command({ children }: { children: string }) {
  return (
    <span className="flex w-fit max-w-full items-center gap-1 rounded-md border border-line bg-sunken py-0.5 pr-1 pl-3">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <code tabIndex={0} className="min-w-0 overflow-x-auto text-[13px] whitespace-pre">
        {children}
      </code>
      <CopyButton text={children} label="copy the command" />
    </span>
  );
}

/** A digest or id: short, whole in its title, copied whole. */
export function Digest({ value, length = 12 }: { value: string; length?: number }) {
  return (
    <span className="inline-flex items-center gap-0.5" title={value}>
      <code className="text-[13px]">{value.replace(/^sha256:/, "").slice(0, length)}</code>
      <CopyButton text={value} label="copy the whole digest" />
    </span>
  );
}
