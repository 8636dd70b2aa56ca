import { useState } from "react";
import type { components } from "@/api/schema";
import { Button } from "@/ui/button";
import { CopyButton } from "@/ui/copy";

type Source = components["schemas"]["StepSource"];
const TEXT = "max-h-96 overflow-auto rounded border border-line bg-sunken py-2 text-xs leading-5";
const MOST = 2000; // lines that are drawn

/** Lines of a source to show: those of the step alone, or the whole module. */
export function linesOf(source: Source, whole: boolean): Array<[number, string]> {
  const lines = source.text.replace(/\n$/, "").split("\n");
  const [first, last] =
    whole || !source.first || !source.last ? [1, lines.length] : [source.first, source.last];
  return lines.slice(first - 1, last).map((text, at) => [first + at, text]);
}

/** The source of a step as it was when the run was compiled. */
export function SourceView({ source }: { source: Source }) {
  const [whole, setWhole] = useState(false);
  const lines = linesOf(source, whole);
  const isStep = (line: number) => line >= (source.first ?? 0) && line <= (source.last ?? -1);
  return (
    <div className="space-y-1">
      <div className="flex flex-wrap items-center justify-between gap-2 text-xs text-muted">
        <span className="min-w-0 break-all">
          {source.file}
          {source.first && `:${source.first}`}
        </span>
        <span className="flex items-center">
          {source.first && (
            <Button small look="quiet" aria-pressed={whole} onClick={() => setWhole(!whole)}>
              {whole ? "The step alone" : "The whole module"}
            </Button>
          )}
          <CopyButton text={lines.map(([, text]) => text).join("\n")} label="copy the source" />
        </span>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <pre tabIndex={0} className={TEXT}>
        <code>
          {lines.slice(0, MOST).map(([number, text]) => (
            <span key={number} className={`flex ${whole && isStep(number) ? "bg-accent-soft" : ""}`}>
              <span aria-hidden className="w-11 shrink-0 pr-3 text-right text-muted select-none">
                {number}
              </span>
              <span className="pr-3 whitespace-pre">{text || " "}</span>
            </span>
          ))}
          {lines.length > MOST && <span className="px-3 text-muted">… {lines.length - MOST} lines more</span>}
        </code>
      </pre>
    </div>
  );
}
