import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useLive } from "./live";

/**
 * Ask figures again after requests were recorded, at most once in `pauseMs`: those whose path begins with one of `paths`, which
 * must be a constant. For sums over many requests, which nobody has to see within the second.
 */
export function useRefetchSlowly(paths: readonly string[], pauseMs = 10_000): void {
  const queries = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useLive("requests", () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => {
          const path = queryKey[1];
          return typeof path === "string" && paths.some((prefix) => path.startsWith(prefix));
        },
      });
    }, pauseMs);
  });
  useEffect(() => () => clearTimeout(timer.current), []);
}
