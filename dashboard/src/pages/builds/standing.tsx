import { useQuery } from "@tanstack/react-query";
import { CircleOff, CloudDownload, Hammer } from "lucide-react";
import { useProject } from "@/shell/project";
import { Badge, State } from "@/ui/state";
import { type Build, heartbeat } from "./queries";
import { standing } from "./telling";

/** Where a build stands; of one that runs, whether anybody still makes it is asked. */
export function Standing({ build }: { build: Build }) {
  const lost = useLost(build);
  const word = standing(build, lost);
  if (word === "lost") {
    return (
      <Badge
        tone="bad"
        title="nothing has been heard of its maker for a minute: the process that made it is gone"
      >
        <CircleOff className="size-3.5" aria-hidden /> lost
      </Badge>
    );
  }
  if (word === "built") {
    return (
      <Badge tone="good">
        <Hammer className="size-3.5" aria-hidden /> built
      </Badge>
    );
  }
  if (word === "found") {
    return (
      <Badge tone="cached" title="somebody else had pushed it">
        <CloudDownload className="size-3.5" aria-hidden /> found
      </Badge>
    );
  }
  return <State state={word} />;
}

export function useLost(build: Build | undefined): boolean {
  const project = useProject();
  const running = build?.state === "running";
  const heard = useQuery({ ...heartbeat(project, build?.id ?? ""), enabled: running });
  return running && (heard.data?.lost ?? false);
}
