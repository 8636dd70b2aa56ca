import { useState } from "react";
import { ApiError } from "@/api/errors";
import { Card } from "@/ui/card";
import { ErrorView } from "@/ui/said";
import { fileUrl } from "../addresses";
import type { Shown } from "../contents";

/** A picture. SVG too is only ever a picture: as one, it runs no script and fetches nothing. */
export default function PictureView({ project, artifact, view }: Shown) {
  const [broken, setBroken] = useState(false);
  return (
    <Card title={view.label} flush>
      {broken ? (
        <div className="p-4">
          <ErrorView
            error={
              new ApiError(
                422,
                "LoadError",
                `\`${view.file}\` cannot be shown`,
                "it is no whole picture of the kind that its name says",
                "download it instead",
              )
            }
          />
        </div>
      ) : (
        <div className="flex justify-center rounded-b-lg bg-white p-4">
          <img
            src={fileUrl(project, artifact.id, view.source, view.file)}
            alt={`${view.label}, as step ${artifact.step || "of a run"} drew it`}
            onError={() => setBroken(true)}
            className="max-h-[70vh] max-w-full object-contain"
          />
        </div>
      )}
    </Card>
  );
}
