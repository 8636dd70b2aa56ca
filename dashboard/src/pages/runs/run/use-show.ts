import { useNavigate } from "@tanstack/react-router";
import { useCallback } from "react";
import type { RunSearch } from "./routes";

/** Changes what the address of the run's page says; what is not given stays. */
export function useShow(): (change: Partial<RunSearch>, options?: { replace?: boolean }) => void {
  const navigate = useNavigate({ from: "/p/$project/runs/$run" });
  return useCallback(
    (change, options = {}) =>
      void navigate({
        search: (before: RunSearch) => ({ ...before, ...change }),
        replace: options.replace ?? false,
        resetScroll: false,
      }),
    [navigate],
  );
}
