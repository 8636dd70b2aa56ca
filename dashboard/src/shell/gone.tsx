import { WifiOff } from "lucide-react";
import { useEffect } from "react";
import { queryClient } from "@/api/queries";
import { connection } from "@/api/signals";

/** Says that the server is away, asks for it until it is back, and then brings the page up to date. */
export function Gone() {
  useEffect(() => {
    let ended = false;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      try {
        const answer = await fetch("/health", { cache: "no-store" });
        if (answer.ok && !ended) {
          connection.found();
          void queryClient.invalidateQueries();
          return;
        }
      } catch {
        // Not yet.
      }
      if (!ended) timer = setTimeout(ask, 2000);
    };
    timer = setTimeout(ask, 500);
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, []);
  return (
    <div
      role="status"
      className="sticky top-0 z-30 flex items-center gap-2 bg-wait-soft px-4 py-2 text-sm text-wait"
    >
      <WifiOff className="size-4 shrink-0" aria-hidden />
      The server does not answer. This page shows what it knew last, and goes on by itself when the server is
      back.
    </div>
  );
}
