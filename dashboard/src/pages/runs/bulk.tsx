import { Link } from "@tanstack/react-router";
import { GitCompare, Square, Tags, Trash2, X } from "lucide-react";
import { useState } from "react";
import { useRole } from "@/shell/project";
import { Button, buttonClass } from "@/ui/button";
import { Confirm, Dialog } from "@/ui/dialog";
import { plural } from "@/ui/format";
import { Input } from "@/ui/input";
import { ErrorView } from "@/ui/said";
import { toast } from "@/ui/toast";
import { type Action, act, type Done, isUnderWay, type RunRow } from "./queries";

/** What can be done to the runs that are chosen. */
export function Bulk({
  project,
  chosen,
  onClear,
}: {
  project: string;
  chosen: RunRow[];
  onClear: () => void;
}) {
  const editor = useRole("editor");
  const [tagging, setTagging] = useState(false);
  const ids = chosen.map((each) => each.id);
  const underWay = chosen.filter((each) => isUnderWay(each.state));
  const compares = chosen.length >= 2 && chosen.length <= 5;

  const run = async (action: Action, which: string[], tags: string[] = []) => {
    const done = await act(project, action, which, tags);
    tell(action, done);
    if (done.every((each) => each.done)) onClear();
  };

  return (
    <div role="toolbar" aria-label="chosen runs" className="flex flex-wrap items-center gap-2 py-1">
      <span className="text-sm font-medium">{plural(chosen.length, "run")} chosen</span>
      {compares ? (
        <Link
          to={`/p/${encodeURIComponent(project)}/compare` as string}
          search={{ runs: chosen.map((each) => each.name).join(",") } as never}
          className={buttonClass("plain", true)}
        >
          <GitCompare /> Compare
        </Link>
      ) : (
        <Button small disabled title="choose two to five runs">
          <GitCompare /> Compare
        </Button>
      )}
      {editor && (
        <>
          <Button small onClick={() => setTagging(true)}>
            <Tags /> Tag
          </Button>
          <Confirm
            trigger={
              <Button small disabled={underWay.length === 0}>
                <Square /> Cancel
              </Button>
            }
            title={`Cancel ${plural(underWay.length, "run")}?`}
            action={`Cancel ${plural(underWay.length, "run")}`}
            onConfirm={() =>
              run(
                "cancel",
                underWay.map((each) => each.id),
              )
            }
          >
            Steps that run are stopped. What has been made stays, and each run can be resumed.
          </Confirm>
          <Confirm
            trigger={
              <Button small look="danger">
                <Trash2 /> Delete
              </Button>
            }
            title={`Delete ${plural(chosen.length, "run")}?`}
            action={`Delete ${plural(chosen.length, "run")}`}
            onConfirm={() => run("delete", ids)}
          >
            Their steps and logs are forgotten for good. Artifacts stay, for other runs may use them. A run
            that is under way is refused: cancel it first.
          </Confirm>
        </>
      )}
      <Button small look="quiet" onClick={onClear}>
        <X /> Choose none
      </Button>
      {tagging && <TagDialog chosen={chosen} onClose={() => setTagging(false)} run={run} />}
    </div>
  );
}

function TagDialog({
  chosen,
  onClose,
  run,
}: {
  chosen: RunRow[];
  onClose: () => void;
  run: (action: Action, which: string[], tags: string[]) => Promise<void>;
}) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const ids = chosen.map((each) => each.id);
  const there = [...new Set(chosen.flatMap((each) => each.tags))].sort();
  const go = async (action: Action, tags: string[]) => {
    setBusy(true);
    setError(null);
    try {
      await run(action, ids, tags);
      onClose();
    } catch (failed) {
      setError(failed);
    }
    setBusy(false);
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      title={`Tag ${plural(chosen.length, "run")}`}
      about="Commas are between tags."
    >
      <form
        className="space-y-3"
        onSubmit={(event) => {
          event.preventDefault();
          const tags = typed
            .split(",")
            .map((each) => each.trim())
            .filter(Boolean);
          if (tags.length) void go("tag", tags);
        }}
      >
        <Input
          autoFocus
          aria-label="tags to add"
          value={typed}
          onChange={(event) => setTyped(event.target.value)}
        />
        {there.length > 0 && (
          <div className="space-y-1">
            <p className="text-xs text-muted">Take away from all of them:</p>
            <div className="flex flex-wrap gap-1.5">
              {there.map((each) => (
                <Button key={each} small busy={busy} onClick={() => void go("untag", [each])}>
                  {each} <X />
                </Button>
              ))}
            </div>
          </div>
        )}
        {error !== null && <ErrorView error={error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Close</Button>
          <Button look="primary" type="submit" busy={busy} disabled={!typed.trim()}>
            Add
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const WORDS: Record<Action, string> = {
  cancel: "cancelled",
  delete: "deleted",
  tag: "tagged",
  untag: "changed",
};

function tell(action: Action, done: Done[]) {
  const good = done.filter((each) => each.done).length;
  if (good)
    toast.done(
      action === "cancel" ? `${plural(good, "run")} told to stop` : `${plural(good, "run")} ${WORDS[action]}`,
    );
  const bad = done.filter((each) => !each.done);
  if (!bad.length) return;
  const [first] = bad;
  toast.failed(
    new Error(
      `${first?.refused}${first?.mend ? `: ${first.mend}` : ""}${bad.length > 1 ? `; and ${plural(bad.length - 1, "more run")}` : ""}`,
    ),
  );
}
