import clsx from "clsx";
import { useState } from "react";
import { Button } from "@/ui/button";
import { plural, short } from "@/ui/format";
import { Ago } from "@/ui/time";
import { To } from "./links";
import type { StepDetail, StepRun } from "./model";
import { Ticked } from "./ticked";

const WORDS: Record<string, string> = {
  changed: "changed",
  new: "is new",
  gone: "is gone",
  same: "the same",
};

/** Why a step was reused or had to run, and every part that decided it. */
export function Reasons({ detail, stepRun }: { detail: StepDetail; stepRun: StepRun }) {
  const [all, setAll] = useState(false);
  const compared = detail.compared;
  const parts = compared?.parts ?? [];
  const differ = parts.filter((each) => each.change !== "same");
  const same = parts.length - differ.length;
  const shown = all ? parts : differ;
  const hit = stepRun.state === "cached";
  const before = compared?.run && (
    <>
      {" "}
      <To path={["runs", compared.run]}>{compared.run}</To>
      {compared.at && (
        <>
          {", "}
          <Ago at={compared.at} />
        </>
      )}
    </>
  );
  return (
    <div className="space-y-2 text-sm">
      <p>
        {hit ? (
          <>
            <strong className="font-medium text-cached">Reused</strong>
            {stepRun.cache_reason && (
              <>
                : <Ticked>{stepRun.cache_reason}</Ticked>
              </>
            )}
            {before && <>; made by{before}</>}
          </>
        ) : stepRun.cache_reason ? (
          <>
            <strong className="font-medium">Ran</strong>: <Ticked>{stepRun.cache_reason}</Ticked>
            {before && <>; compared with{before}</>}
          </>
        ) : (
          <span className="text-muted">No reason is recorded.</span>
        )}
      </p>
      {shown.length > 0 && (
        <ul
          aria-label="what the outputs depend on"
          className="divide-y divide-line rounded border border-line"
        >
          {shown.map((each) => (
            <li key={each.name} className="flex flex-wrap items-baseline justify-between gap-x-3 px-2 py-1">
              <span className="min-w-0 break-words">
                <Ticked>{each.name}</Ticked>
              </span>
              <span className="flex items-baseline gap-2 text-xs">
                <span className={clsx(each.change === "same" ? "text-muted" : "font-medium text-wait")}>
                  {WORDS[each.change] ?? each.change}
                </span>
                <code className="text-muted" title={[each.before, each.now].filter(Boolean).join(" → ")}>
                  {each.change === "changed"
                    ? `${part(each.before)} → ${part(each.now)}`
                    : part(each.now || each.before)}
                </code>
              </span>
            </li>
          ))}
        </ul>
      )}
      {same > 0 && (
        <Button small look="quiet" className="-ml-2" aria-expanded={all} onClick={() => setAll(!all)}>
          {all
            ? "Show what differs alone"
            : `Show all ${plural(parts.length, "part")}${compared?.run && differ.length ? `, ${same} the same` : ""}`}
        </Button>
      )}
    </div>
  );
}

/** A part's value: a digest in short, anything else as it is. */
function part(value: string | undefined): string {
  if (!value) return "–";
  return value.startsWith("sha256:") ? short(value).slice(0, 8) : value.slice(0, 40);
}
