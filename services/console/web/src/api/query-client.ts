import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "@/api/errors";

const MOST_RETRIES = 2;

/** Return a cache of answers for one tenant. Outages are tried again twice; refusals are not. */
export function newQueryClient(_tenant: string | null = null): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 10_000,
        refetchOnWindowFocus: true,
        retry: (failures, error) => error instanceof ApiError && error.isOutage && failures < MOST_RETRIES,
        retryDelay: (failures) => Math.min(500 * 2 ** failures, 5000),
      },
      // What was sent and answered may be a code or a token: it is gone with the dialog that shows it.
      mutations: { retry: false, gcTime: 0 },
    },
  });
}
