/** The queries of the page, and how they stay calm: what is shown stays while the next answer is under way. */

import { keepPreviousData, type UseQueryResult } from "@tanstack/react-query";
import { query } from "@/api/client";
import { apiSort, bucketOf, type SpanQuery, type UsageSearch } from "./search";

const OPTIONS = { placeholderData: keepPreviousData, staleTime: 10_000 } as const;
const TABLE_ROWS = 200;

export interface CalmQuery<T> {
  readonly data: T | undefined;
  readonly error: unknown;
  readonly isPending: boolean;
  readonly isFetching: boolean;
  /** Whether what is shown answers an earlier question, of another time or other filters. */
  readonly isPlaceholderData: boolean;
  readonly refetch: UseQueryResult<T, unknown>["refetch"];
}

/**
 * Return a query that works only if it asks for something else than what is shown: refreshing does not dim the page. Its answer
 * is JSON, since no CSV is asked for.
 */
export function calm<T>(result: UseQueryResult<T, unknown>): CalmQuery<Exclude<T, string>> {
  const { data, error, isPending, isPlaceholderData, refetch } = result;
  return {
    data: typeof data === "string" ? undefined : (data as Exclude<T, string> | undefined),
    error,
    isPending,
    isPlaceholderData,
    isFetching: isPlaceholderData || (isPending && result.isFetching),
    refetch: refetch as CalmQuery<Exclude<T, string>>["refetch"],
  };
}

/** Return all that the page asks for. */
export function useUsage(span: SpanQuery, values: UsageSearch) {
  const bucket = bucketOf(values, new Date());
  const summary = query.useQuery("get", "/api/v1/usage/summary", { params: { query: span } }, OPTIONS);
  const series = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { ...span, bucket, by: values.by, lines: 8, sort: values.show } } },
    OPTIONS,
  );
  const latency = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { ...span, bucket, percentiles: "true" } } },
    OPTIONS,
  );
  const errors = query.useQuery(
    "get",
    "/api/v1/usage/errors",
    { params: { query: { ...span, limit: 12 } } },
    OPTIONS,
  );
  const models = query.useQuery(
    "get",
    "/api/v1/usage/breakdown",
    {
      params: {
        query: {
          ...span,
          by: ["model", "provider", "key_source"],
          sort: apiSort(values.sort),
          limit: TABLE_ROWS,
          percentiles: "true",
        },
      },
    },
    OPTIONS,
  );
  return {
    summary: calm(summary),
    series: calm(series),
    latency: calm(latency),
    errors: calm(errors),
    models: calm(models),
  };
}
