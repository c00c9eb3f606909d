import { useNavigate } from "@tanstack/react-router";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { EmptyState, Panel, QueryState, SegmentedControl } from "@/ui";
import { StackedBars } from "@/ui/charts";
import type { PageSearch } from "@/url/search";
import {
  chartBuckets,
  chartSeries,
  chartSummary,
  type Figures,
  type NameOf,
  type Series,
  UNITS,
} from "./prepare";
import { requestsSearch, type Shown, SPLIT_NAMES, type USAGE_SEARCH } from "./search";
import type { CalmQuery } from "./use-usage";

interface SpendPanelProps {
  search: PageSearch<typeof USAGE_SEARCH>;
  query: CalmQuery<Series>;
  total: Figures | undefined;
  nameOf: NameOf;
}

const TITLES: Record<Shown, string> = { spend: "Spend", requests: "Requests", tokens: "Tokens" };
const BUCKET_NAMES: Record<Series["bucket"], string> = {
  "15m": "Quarter hour",
  hour: "Hour",
  day: "Day",
  week: "Week",
  month: "Month",
};

/** How much over time, by what. */
export function SpendPanel({ search, query, total, nameOf }: SpendPanelProps) {
  const { values } = search;
  const bucket = query.data?.bucket ?? "day";
  return (
    <Panel
      title={`${TITLES[values.show]} per ${BUCKET_NAMES[bucket].toLowerCase()}`}
      actions={
        <SegmentedControl
          size="xs"
          aria-label="What the bars show"
          value={values.show}
          onChange={(show) => search.change({ show: show as Shown })}
          data={[
            { value: "spend", label: "Spend" },
            { value: "requests", label: "Requests" },
            { value: "tokens", label: "Tokens" },
          ]}
        />
      }
    >
      <QueryState what="the chart" query={query} height={340}>
        {(data) => <SpendChart search={search} data={data} total={total} nameOf={nameOf} />}
      </QueryState>
    </Panel>
  );
}

interface SpendChartProps extends Omit<SpendPanelProps, "query"> {
  data: Series;
}

function SpendChart({ search, data, total, nameOf }: SpendChartProps) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const { values } = search;
  if (data.lines.length === 0) {
    return <EmptyState title="No usage in this time" />;
  }
  const { stacked, totals } = chartSeries(data, values.show, nameOf);
  const linkOf = (index: number) => {
    const bucket = data.buckets[index];
    return bucket ? requestsSearch(values, { since: bucket.start, until: bucket.end }) : null;
  };
  const open = (index: number) => {
    const link = linkOf(index);
    if (link !== null) {
      void navigate({ href: tenantPath(tenant, `requests${link}`) });
    }
  };
  return (
    <StackedBars
      summary={
        total
          ? chartSummary(values.show, data.bucket, SPLIT_NAMES[values.by], total)
          : `${TITLES[values.show]} over time`
      }
      bucketName={BUCKET_NAMES[data.bucket]}
      buckets={chartBuckets(data)}
      series={stacked}
      totals={totals}
      unit={UNITS[values.show]}
      height={250}
      onSelect={linkOf(0) === null ? undefined : open}
      selectHint="open its requests"
    />
  );
}
