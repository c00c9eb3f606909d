/** The last day of an address in 48 cells: attempts of half an hour each, and outages. Pure. */

import type { Schemas } from "@/api/client";
import { countOf, formatShare } from "@/format/numbers";
import { formatClock } from "@/format/time";
import type { StripCell } from "@/ui/charts";
import { type HealthGroup, isOutageOf, type Outage } from "./health-groups";

export const CELLS = 48;
const HALF_HOUR = 1_800_000;
const BAD_SHARE = 0.5;
const DOUBTFUL_SHARE = 0.02;

export interface StripSpan {
  readonly start: number;
  readonly end: number;
}

/** Return the half hours of the last day, the last of which lasts. */
export function stripSpans(now: number): readonly StripSpan[] {
  const last = Math.floor(now / HALF_HOUR) * HALF_HOUR;
  return Array.from({ length: CELLS }, (_, index) => {
    const start = last - (CELLS - 1 - index) * HALF_HOUR;
    return { start, end: start + HALF_HOUR };
  });
}

interface Counts {
  attempts: number;
  failed: number;
}

/** Return attempts and failures of each half hour, of the line of a series in buckets of a quarter hour. */
export function stripCounts(
  series: Schemas["UsageSeries"] | undefined,
  value: string,
  now: number,
): readonly Counts[] {
  const spans = stripSpans(now);
  const counts = spans.map(() => ({ attempts: 0, failed: 0 }));
  const first = spans[0]?.start ?? 0;
  const line = series?.lines.find(({ key }) => key?.kind !== "rest" && key?.value === value);
  series?.buckets.forEach((bucket, index) => {
    const cell = counts[Math.floor((Date.parse(bucket.start) - first) / HALF_HOUR)];
    const point = line?.points[index];
    if (cell && point) {
      cell.attempts += point.attempts;
      cell.failed += point.failed + point.indeterminate;
    }
  });
  return counts;
}

/** Return whether an outage was at an address during a span. */
function overlaps(outage: Outage, group: HealthGroup, span: StripSpan, now: number): boolean {
  const end = outage.ended_at ? Date.parse(outage.ended_at) : now;
  return isOutageOf(outage, group) && Date.parse(outage.began_at) < span.end && end >= span.start;
}

/** Return the cells of an address. */
export function stripCells(
  counts: readonly Counts[],
  group: HealthGroup,
  outages: readonly Outage[],
  zone: string,
  now: number,
): readonly StripCell[] {
  return stripSpans(now).map((span, index) => {
    const { attempts, failed } = counts[index] ?? { attempts: 0, failed: 0 };
    const out = outages.some((outage) => overlaps(outage, group, span, now));
    const title = `${clock(span.start, zone)} to ${clock(span.end, zone)}`;
    const share = attempts === 0 ? 0 : failed / attempts;
    const words =
      attempts === 0
        ? "no attempts"
        : `${countOf(failed, "attempt")} of ${attempts} failed (${formatShare(share)})`;
    const text = out ? `outage, ${words}` : words;
    if (attempts === 0 && !out) {
      return { status: "none", level: 0.4, title, text };
    }
    if (share >= BAD_SHARE || (out && attempts === 0)) {
      return { status: "error", level: 1, title, text };
    }
    return share >= DOUBTFUL_SHARE || out
      ? { status: "warning", level: 0.75, title, text }
      : { status: "ok", level: 0.4, title, text };
  });
}

function clock(time: number, zone: string): string {
  return formatClock(new Date(time).toISOString(), zone);
}
