import { useQuery } from "@tanstack/react-query";
import { Download } from "lucide-react";
import type { ReactNode } from "react";
import { Button, buttonClass } from "@/ui/button";
import { bytes } from "@/ui/format";
import { Answer, Loading } from "@/ui/said";
import { beginning, fileUrl } from "../addresses";
import type { Shown } from "../contents";

export const FIRST = 256_000; // bytes that are fetched at first
const MOST = 8_000_000; // bytes that a browser shows well

/** The beginning of a view's file, with what is said where that is not all of it. */
export function Beginning({
  project,
  artifact,
  view,
  most,
  onMore,
  children,
}: Shown & {
  most: number; // bytes
  onMore?: (most: number) => void;
  children: (text: string, whole: boolean) => ReactNode;
}) {
  const url = fileUrl(project, artifact.id, view.source, view.file);
  const query = useQuery({
    queryKey: ["artifact-text", url, most],
    queryFn: () => beginning(url, most),
    staleTime: 300_000,
    gcTime: 30_000, // megabytes are not kept for long
  });
  return (
    <Answer query={query} loading={<Loading rows={8} />}>
      {({ text, whole }) => (
        <>
          {children(text, whole)}
          {!whole && (
            <p
              role="note"
              className="flex flex-wrap items-center gap-2 border-t border-line px-4 py-2 text-sm"
            >
              <span className="text-muted">
                The first {bytes(most)} of {bytes(view.size)} are shown.
              </span>
              {onMore && most < MOST && (
                <Button small onClick={() => onMore(Math.min(most * 4, MOST))}>
                  Show more
                </Button>
              )}
              <a
                href={fileUrl(project, artifact.id, view.source, view.file, true)}
                download
                className={buttonClass("plain", true)}
              >
                <Download /> Download all of it
              </a>
            </p>
          )}
        </>
      )}
    </Answer>
  );
}
