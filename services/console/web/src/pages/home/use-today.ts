/** Today's figures, and those of the same weekdays before. */

import { keepPreviousData } from "@tanstack/react-query";
import { query } from "@/api/client";
import { dayOf, startOfDay } from "@/format/zone";
import { todayOf } from "./state";

/** Four weeks: so many days of the same name are compared. */
const DAYS_BEFORE = 28;

/** Return the query of today's figures, and since when today is. */
export function useToday(zone: string) {
  const now = new Date();
  const day = dayOf(now.toISOString(), zone);
  const first = new Date(Date.parse(`${day}T00:00:00Z`) - DAYS_BEFORE * 86_400_000)
    .toISOString()
    .slice(0, 10);
  const since = startOfDay(first, zone) ?? undefined;
  const today = startOfDay(day, zone) ?? now.toISOString();
  const answer = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { since, tz: zone, bucket: "hour" } } },
    { placeholderData: keepPreviousData },
  );
  const { data, error, isPending, refetch } = answer;
  return {
    today: {
      data: data === undefined || typeof data === "string" ? undefined : todayOf(data),
      error,
      isPending,
      isFetching: isPending,
      refetch: refetch as never,
    },
    span: { since: today },
  };
}
