/** What the tenant's own attempts say about providers: over the last day, and over the last quarter of an hour. */

import { useState } from "react";
import { query } from "@/api/client";
import { asJson } from "@/api/json";
import { stripSpans } from "@/components/health-strip";
import { useRefetchSlowly } from "@/live/use-refetch-slowly";

const PATHS = ["/api/v1/usage/", "/api/v1/health/"] as const;
const QUARTER = 900_000;

/** Return the series by provider and by own server, and the figures since the beginning of a quarter of an hour. */
export function useOwnTraffic(withServers: boolean) {
  const [now] = useState(() => Date.now());
  const since = new Date(stripSpans(now)[0]?.start ?? now).toISOString();
  const recentSince = new Date(Math.floor((now - QUARTER) / QUARTER) * QUARTER).toISOString();
  const common = { since, bucket: "15m", lines: 14, sort: "attempts" } as const;
  useRefetchSlowly(PATHS);
  const providers = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { ...common, by: "provider" } } },
    { select: (data) => asJson(data) },
  );
  const servers = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { ...common, by: "endpoint" } } },
    { select: (data) => asJson(data), enabled: withServers },
  );
  const recent = query.useQuery(
    "get",
    "/api/v1/usage/breakdown",
    {
      params: {
        query: {
          since: recentSince,
          by: ["provider", "endpoint"],
          percentiles: "true",
          sort: "attempts",
          limit: 200,
        },
      },
    },
    { select: (data) => asJson(data) },
  );
  return { providers, servers, recent, recentSince };
}
