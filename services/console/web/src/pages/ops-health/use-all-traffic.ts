/** What the attempts of all tenants say about providers: over the last day, and over the last quarter of an hour. */

import { useState } from "react";
import { query } from "@/api/client";
import { asJson } from "@/api/json";
import { stripSpans } from "@/components/health-strip";
import { useRefetchSlowly } from "@/live/use-refetch-slowly";

const PATHS = ["/api/v1/ops/usage/", "/api/v1/ops/health/"] as const;
const QUARTER = 900_000;
const PAUSE_MS = 15_000;

/** Return the series by provider, and the figures since the beginning of a quarter of an hour. */
export function useAllTraffic() {
  const [now] = useState(() => Date.now());
  const since = new Date(stripSpans(now)[0]?.start ?? now).toISOString();
  const recentSince = new Date(Math.floor((now - QUARTER) / QUARTER) * QUARTER).toISOString();
  useRefetchSlowly(PATHS, PAUSE_MS);
  const providers = query.useQuery(
    "get",
    "/api/v1/ops/usage/series",
    { params: { query: { since, bucket: "15m", lines: 14, sort: "attempts", by: "provider" } } },
    { select: (data) => asJson(data) },
  );
  const recent = query.useQuery(
    "get",
    "/api/v1/ops/usage/breakdown",
    {
      params: {
        query: { since: recentSince, by: ["provider"], percentiles: "true", sort: "attempts", limit: 200 },
      },
    },
    { select: (data) => asJson(data) },
  );
  return { providers, recent, recentSince };
}
