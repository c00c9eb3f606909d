/** Prepares the chart of volume: attempts over time by outcome. Pure. */

import type { Schemas } from "@/api/client";
import type { RequestFilters, Span } from "./filters";

export type Bucket = "15m" | "hour" | "day";
const HOUR = 3_600_000;

/** Return the length of buckets for a span: a few dozen. */
export function bucketFor(span: Span, now: Date): Bucket {
  const end = span.until === null ? now : new Date(span.until);
  const hours = (end.getTime() - new Date(span.since).getTime()) / HOUR;
  return hours <= 7 ? "15m" : hours <= 4 * 24 ? "hour" : "day";
}

export const BUCKET_WORDS: Record<Bucket, string> = { "15m": "15 minutes", hour: "hour", day: "day" };

const ORDER = ["completed", "failed", "cancelled", "indeterminate"] as const;
export type VolumeOutcome = (typeof ORDER)[number];

export interface Volume {
  readonly buckets: readonly { start: string; end: string; partial: boolean }[];
  readonly lines: readonly { outcome: VolumeOutcome; values: readonly number[]; total: number }[];
  readonly totals: readonly number[];
  readonly total: number;
}

/** Return attempts by outcome of each bucket; buckets that are not over, or not completely recorded, are partial. */
export function prepareVolume(series: Schemas["UsageSeries"]): Volume {
  const complete = series.complete_until ? new Date(series.complete_until).getTime() : 0;
  const asOf = new Date(series.as_of).getTime();
  const buckets = series.buckets.map(({ start, end }) => ({
    start,
    end,
    partial: new Date(end).getTime() > asOf || new Date(start).getTime() > complete,
  }));
  const lines = ORDER.map((outcome) => {
    const line = series.lines.find(({ key }) => key?.value === outcome);
    const values = buckets.map((_, index) => line?.points[index]?.attempts ?? 0);
    return { outcome, values, total: line?.total.attempts ?? 0 };
  });
  const totals = buckets.map((_, index) => lines.reduce((sum, line) => sum + (line.values[index] ?? 0), 0));
  return {
    buckets,
    lines: lines.filter((line) => line.total > 0),
    totals,
    total: lines.reduce((sum, line) => sum + line.total, 0),
  };
}

/** Return the change of the filters that narrows the list to one bucket. */
export function narrowTo(bucket: { start: string; end: string }): Partial<RequestFilters> {
  return { since: new Date(bucket.start).toISOString(), until: new Date(bucket.end).toISOString() };
}
