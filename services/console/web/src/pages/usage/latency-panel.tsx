import { useNavigate } from "@tanstack/react-router";
import { formatDuration } from "@/format/duration";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { EmptyState, Panel, QueryState, Text } from "@/ui";
import { type ChartSeries, Lines, PALETTE, REST_COLOR } from "@/ui/charts";
import { chartBuckets, type Figures, LATENCY_UNIT, latencyLines, type Series } from "./prepare";
import { requestsSearch, type UsageSearch } from "./search";
import type { CalmQuery } from "./use-usage";

interface LatencyPanelProps {
  query: CalmQuery<Series>;
  /** The totals of the same time, which have the percentiles over all of it. */
  total: Figures | undefined;
  values: UsageSearch;
}

/** How fast, over time. */
export function LatencyPanel({ query, total, values }: LatencyPanelProps) {
  return (
    <Panel title="Latency">
      <QueryState what="the latency" query={query} height={270}>
        {(data) => <LatencyChart data={data} measured={total?.latency} values={values} />}
      </QueryState>
    </Panel>
  );
}

interface LatencyChartProps {
  data: Series;
  measured: Figures["latency"];
  values: UsageSearch;
}

function LatencyChart({ data, measured, values }: LatencyChartProps) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const line = data.lines[0];
  if (!line?.points.some((point) => point.latency)) {
    return (
      <EmptyState title="Nothing to measure">
        {values.tag.length > 0
          ? "Percentiles are not kept by tags: clear that filter to see them."
          : "No attempt was completed in this time."}
      </EmptyState>
    );
  }
  const series: readonly ChartSeries[] = latencyLines(line.points).map((each, index) => ({
    ...each,
    color: PALETTE[index] ?? REST_COLOR,
  }));
  const linkable = requestsSearch(values, data) !== null;
  const open = (index: number) => {
    const bucket = data.buckets[index];
    const search = bucket ? requestsSearch(values, { since: bucket.start, until: bucket.end }) : null;
    if (search !== null) {
      void navigate({ href: tenantPath(tenant, `requests${search}`) });
    }
  };
  return (
    <>
      <Text size="sm" c="dimmed">
        {measured
          ? `Of completed attempts: half took at most ${formatDuration(measured.p50_ms)}, 95 % at most ${formatDuration(measured.p95_ms)}, 99 % at most ${formatDuration(measured.p99_ms)}.`
          : "Of completed attempts."}
      </Text>
      <Lines
        summary={measured ? `Latency over time, P95 ${formatDuration(measured.p95_ms)}` : "Latency over time"}
        bucketName="Time"
        buckets={chartBuckets(data)}
        series={series}
        unit={LATENCY_UNIT}
        height={200}
        onSelect={linkable ? open : undefined}
        selectHint="open its requests"
      />
    </>
  );
}
