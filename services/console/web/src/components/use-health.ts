/** The health of all targets that the page may see, kept current by live events. */

import { type UseQueryResult, useQuery } from "@tanstack/react-query";
import { api, type Schemas } from "@/api/client";
import { useRefetchOn } from "@/live/live";
import { useSession } from "@/session/session";

export interface HealthOverview {
  readonly targets: readonly Schemas["TargetHealth"][];
  readonly overrides: readonly Schemas["Override"][];
}

const TOPICS = ["health"] as const;
const PATHS = ["/api/v1/health/", "/api/v1/ops/health/"] as const;
const PAGE = 500;
const MOST_PAGES = 20;

async function readHealth(operator: boolean, signal: AbortSignal): Promise<HealthOverview> {
  const path = operator ? "/api/v1/ops/health/providers" : "/api/v1/health/providers";
  const targets: Schemas["TargetHealth"][] = [];
  let overrides: Schemas["Override"][] = [];
  let after: string | null = null;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query: { limit: number; after?: string } =
      after === null ? { limit: PAGE } : { limit: PAGE, after };
    const { data } = await api.GET(path, { params: { query }, signal });
    if (!data) {
      break;
    }
    targets.push(...data.data);
    overrides = data.overrides;
    after = data.next;
    if (after === null) {
      break;
    }
  }
  return { targets, overrides };
}

/** Return the health of what the tenant's requests can reach; of the whole installation on pages without a tenant. */
export function useHealth(): UseQueryResult<HealthOverview> {
  const operator = useSession().tenant === null;
  useRefetchOn(TOPICS, PATHS);
  return useQuery({
    queryKey: ["get", operator ? PATHS[1] : PATHS[0], "all"],
    queryFn: ({ signal }) => readHealth(operator, signal),
    staleTime: 30_000,
  });
}
