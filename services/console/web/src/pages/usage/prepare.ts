/** What the page computes from the answers of the API before it shows them. Pure. */

import type { Schemas } from "@/api/client";
import { formatTotal } from "@/format/money";
import { countOf, formatCompact, formatCount, formatShare } from "@/format/numbers";
import { formatClock, formatDay } from "@/format/time";
import {
  assignColors,
  type ChartBucket,
  type ChartSeries,
  type ChartUnit,
  COUNT,
  DURATION,
  MONEY,
  REST_COLOR,
} from "@/ui/charts";
import type { Shown } from "./search";

export type Figures = Schemas["UsageFigures"];
export type Series = Schemas["UsageSeries"];
export type Summary = Schemas["AnalyticsSummary"];
export type ValueKey = Schemas["DimensionValue"];
export type NameOf = (key: ValueKey) => string;

/** Return the amount of a measure; what nothing is known of is 0 in a chart, and counted elsewhere. */
export function measureOf(figures: Figures, shown: Shown): number {
  switch (shown) {
    case "requests":
      return figures.requests;
    case "tokens":
      return figures.total_tokens;
    default:
      return figures.spend_micro_usd ?? 0;
  }
}

export const UNITS: Record<Shown, ChartUnit> = { spend: MONEY, requests: COUNT, tokens: COUNT };

const WEEKDAY = (iso: string, zone: string) =>
  new Intl.DateTimeFormat("en-US", { timeZone: zone, weekday: "long" }).format(new Date(iso));

/** Return the positions of a chart over time, in the zone of the answer. */
export function chartBuckets(
  series: Pick<Series, "bucket" | "buckets" | "tz" | "complete_until" | "as_of">,
): readonly ChartBucket[] {
  const completeUntil = Date.parse(series.complete_until ?? series.as_of);
  return series.buckets.map(({ start, end }) => {
    const day = formatDay(start, series.tz);
    const partial = Date.parse(end) > completeUntil;
    if (series.bucket === "hour" || series.bucket === "15m") {
      const clock = formatClock(start, series.tz);
      const until = formatClock(end, series.tz);
      return { label: clock, title: `${day}, ${clock} to ${until}`, partial };
    }
    const title = series.bucket === "week" ? `Week from ${day}` : `${WEEKDAY(start, series.tz)}, ${day}`;
    return { label: day, title, partial };
  });
}

/** Return what is stacked, with the largest first and the rest last, and the total of each position. */
export function chartSeries(
  series: Pick<Series, "lines">,
  shown: Shown,
  nameOf: NameOf,
): { readonly stacked: readonly ChartSeries[]; readonly totals: readonly number[] } {
  const keys = series.lines.map(({ key }) => key?.value ?? "");
  const colors = assignColors(
    series.lines.flatMap(({ key }) => (key?.kind === "value" && key.value ? [key.value] : [])),
  );
  const apart = series.lines.filter(({ key }) => key?.kind !== "rest").length;
  const stacked = series.lines.map((line, index) => ({
    name:
      line.key?.kind === "rest"
        ? `Other (of ${apart + (line.values_count ?? 0)})`
        : line.key
          ? nameOf(line.key)
          : "All",
    color: colors.get(keys[index] ?? "") ?? REST_COLOR,
    values: line.points.map((point) => measureOf(point, shown)),
  }));
  const length = series.lines[0]?.points.length ?? 0;
  const totals = Array.from({ length }, (_, index) =>
    stacked.reduce((total, each) => total + (each.values[index] ?? 0), 0),
  );
  return { stacked: withUniqueNames(stacked), totals };
}

/** Tell series of the same name apart, such as two client tokens with one label. */
function withUniqueNames(series: readonly ChartSeries[]): readonly ChartSeries[] {
  const seen = new Map<string, number>();
  return series.map((each) => {
    const times = (seen.get(each.name) ?? 0) + 1;
    seen.set(each.name, times);
    return times === 1 ? each : { ...each, name: `${each.name} (${times})` };
  });
}

/** Return the lines of latency: gaps where no attempt was completed. */
export function latencyLines(
  points: readonly Figures[],
): readonly { name: string; values: readonly (number | null)[] }[] {
  return [
    { name: "P50", values: points.map((point) => point.latency?.p50_ms ?? null) },
    { name: "P95", values: points.map((point) => point.latency?.p95_ms ?? null) },
  ];
}

export const LATENCY_UNIT = DURATION;

/** Return the share of attempts that failed; null if there were none. */
export function errorRate(figures: Figures): number | null {
  return figures.attempts === 0 ? null : figures.failed / figures.attempts;
}

/** Return the change from `before` to `now` in thousandths; null if there is nothing to compare with. */
export function changePermille(
  now: number | null | undefined,
  before: number | null | undefined,
): number | null {
  if (now === null || now === undefined || !before) {
    return null;
  }
  return Math.round(((now - before) * 1000) / before);
}

/** Return what is missing in an amount, in words; null if nothing is. */
export function unknownText(figures: Figures): string | null {
  return figures.spend_unknown > 0 ? `not known for ${countOf(figures.spend_unknown, "attempt")}` : null;
}

/** Return an amount of money; text if nothing is known of it. */
export function spendText(figures: Figures): string {
  return figures.spend_micro_usd === null || figures.spend_micro_usd === undefined
    ? figures.attempts === 0
      ? formatTotal(0)
      : "unknown"
    : formatTotal(figures.spend_micro_usd);
}

/** Return the sentence that stands for the main chart. */
export function chartSummary(shown: Shown, bucket: Series["bucket"], by: string, total: Figures): string {
  const what = { spend: "Spend", requests: "Requests", tokens: "Tokens" }[shown];
  const amount = {
    spend: spendText(total),
    requests: formatCount(total.requests),
    tokens: formatCompact(total.total_tokens),
  }[shown];
  return `${what} per ${bucket} by ${by.toLowerCase()}, ${amount} in total`;
}

export interface ModelRow {
  readonly id: string;
  readonly model: ValueKey | null;
  readonly provider: ValueKey | null;
  readonly source: ValueKey | null;
  readonly figures: Figures;
}

/** Return the rows of the table by model. */
export function modelRows(breakdown: Schemas["UsageBreakdown"]): readonly ModelRow[] {
  return breakdown.rows.map((row) => {
    const key = (dimension: string) => row.keys.find((each) => each.dimension === dimension) ?? null;
    return {
      id: row.keys.map((each) => `${each.kind ?? ""}:${each.value ?? ""}`).join("|"),
      model: key("model"),
      provider: key("provider"),
      source: key("key_source"),
      figures: row.figures,
    };
  });
}

const SORT_VALUES: Record<string, (row: ModelRow) => number | null> = {
  spend: (row) => row.figures.spend_micro_usd ?? null,
  requests: (row) => row.figures.requests,
  tokens: (row) => row.figures.total_tokens,
  errors: (row) => errorRate(row.figures),
  p95: (row) => row.figures.latency?.p95_ms ?? null,
};

/** Return the rows sorted as `-spend` or `p95` says; rows without a value are last. */
export function sortRows(rows: readonly ModelRow[], sort: string): readonly ModelRow[] {
  const descending = sort.startsWith("-");
  const amountOf = SORT_VALUES[sort.replace("-", "")] ?? (() => null);
  return [...rows].sort((one, two) => {
    const [a, b] = [amountOf(one), amountOf(two)];
    if (a === null || b === null) {
      return a === b ? one.id.localeCompare(two.id) : a === null ? 1 : -1;
    }
    return (descending ? b - a : a - b) || one.id.localeCompare(two.id);
  });
}

/** Return the names of the providers that bill the tenant itself, in words: `OpenAI and Mistral`. */
export function billersText(rows: readonly ModelRow[], nameOf: NameOf): string {
  const names = new Set(
    rows.flatMap((row) => (row.source?.value === "byok" && row.provider ? [nameOf(row.provider)] : [])),
  );
  const sorted = [...names].sort();
  if (sorted.length === 0) {
    return "your providers";
  }
  if (sorted.length > 3) {
    return `${sorted.slice(0, 2).join(", ")} and ${sorted.length - 2} others`;
  }
  return sorted.length === 1 ? (sorted[0] ?? "") : `${sorted.slice(0, -1).join(", ")} and ${sorted.at(-1)}`;
}

/** Return the description of the page from the answer of the summary. */
export function freshnessText(summary: Summary, zone: string): string {
  const complete = summary.complete_until ?? null;
  const partial = complete === null || Date.parse(complete) < Date.parse(summary.until);
  const since = complete === null ? "" : ` after ${formatClock(complete, zone)}`;
  return `Days are ${summary.tz}.${partial ? ` Attempts${since} may be missing.` : ""} Updated ${formatClock(summary.as_of, zone)}.`;
}

/** Return an error rate in words. */
export function rateText(rate: number | null): string {
  return rate === null ? "no traffic" : formatShare(rate);
}
