import { ExternalLink } from "lucide-react";
import { useState } from "react";
import { Button, buttonClass } from "@/ui/button";
import { Card } from "@/ui/card";
import { bytes } from "@/ui/format";
import { fileUrl } from "../addresses";
import type { Shown } from "../contents";

const HEAVY = 20_000_000; // bytes, from which one is asked first

/**
 * A page that a step made. It is framed without an origin: its scripts run, as plots need, and reach neither the
 * dashboard nor any network. The server says so of the file itself, too.
 */
export default function PageView({ project, artifact, view }: Shown) {
  const [wanted, setWanted] = useState(view.size < HEAVY);
  const url = fileUrl(project, artifact.id, view.source, view.file);
  return (
    <Card
      title={view.label}
      flush
      actions={
        <a href={url} target="_blank" rel="noopener noreferrer" className={buttonClass("quiet", true)}>
          <ExternalLink /> Open alone
        </a>
      }
    >
      {wanted ? (
        <iframe
          src={url}
          title={`${view.file}, a page that step ${artifact.step || "of a run"} made`}
          sandbox="allow-scripts"
          referrerPolicy="no-referrer"
          className="block h-[70vh] w-full rounded-b-lg bg-white"
        />
      ) : (
        <div className="flex flex-wrap items-center gap-3 p-4 text-sm">
          <span>This page has {bytes(view.size)}, which may take a browser long.</span>
          <Button onClick={() => setWanted(true)}>Show it</Button>
        </div>
      )}
    </Card>
  );
}
