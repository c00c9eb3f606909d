import { memo } from "react";
import { query } from "@/api/client";
import { asJson } from "@/api/json";
import { OUTCOME_WORDS } from "@/components/request-words";
import { formatCount } from "@/format/numbers";
import { formatClock, formatDay } from "@/format/time";
import { useRefetchSlowly } from "@/live/use-refetch-slowly";
import { useTimeZone } from "@/session/time-zone";
import { Panel, QueryState, Text } from "@/ui";
import { COUNT, STATUS_FILLS, StackedBars } from "@/ui/charts";
import { FILTER_LABELS, type RequestFilters, type Span, usageQuery } from "./filters";
import { BUCKET_WORDS, bucketFor, narrowTo, prepareVolume, type Volume, type VolumeOutcome } from "./volume";

interface VolumePanelProps {
  filters: RequestFilters;
  span: Span;
  servers: ReadonlySet<string>;
  onNarrow: (patch: Partial<RequestFilters>) => void;
}

const COLORS: Record<VolumeOutcome, keyof typeof STATUS_FILLS> = {
  completed: "ok",
  failed: "error",
  cancelled: "neutral",
  indeterminate: "warning",
};
const PATHS = ["/api/v1/usage/series"] as const;
const HEIGHT = 130;

/** How many attempts there were over time, by outcome; a click on a bar narrows the list to its time. */
function Volumes({ filters, span, servers, onNarrow }: VolumePanelProps) {
  const zone = useTimeZone();
  const bucket = bucketFor(span, new Date());
  const { query: wanted, ignored } = usageQuery(filters, servers);
  useRefetchSlowly(PATHS);
  const common = { ...wanted, since: span.since, until: span.until, tz: zone };
  const series = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { ...common, bucket, by: "outcome", lines: 6, sort: "attempts" } } },
    { select: (data) => asJson(data) },
  );
  const notes = [
    ...ignored.map((name) => `“${FILTER_LABELS[name]}” does not count here.`),
    filters.outcome === "refused" ? "Refused requests made no attempt." : "",
  ].filter(Boolean);
  return (
    <Panel title={`Attempts per ${BUCKET_WORDS[bucket]}`}>
      <QueryState what="the volume of requests" query={series} height={HEIGHT + 60}>
        {(data) => (
          <VolumeChart volume={prepareVolume(data)} bucket={bucket} zone={zone} onNarrow={onNarrow} />
        )}
      </QueryState>
      {notes.length > 0 ? (
        <Text size="xs" c="dimmed">
          {notes.join(" ")}
        </Text>
      ) : null}
    </Panel>
  );
}

/** Not drawn again for each event: what `onNarrow` changes depends on the same filters. */
export const VolumePanel = memo(
  Volumes,
  (before, after) =>
    before.filters === after.filters && before.span === after.span && before.servers === after.servers,
);

interface VolumeChartProps {
  volume: Volume;
  bucket: keyof typeof BUCKET_WORDS;
  zone: string;
  onNarrow: VolumePanelProps["onNarrow"];
}

function VolumeChart({ volume, bucket, zone, onNarrow }: VolumeChartProps) {
  const label = (iso: string) => (bucket === "day" ? formatDay(iso, zone) : formatClock(iso, zone));
  const title = ({ start, end }: { start: string; end: string }) =>
    bucket === "day"
      ? formatDay(start, zone)
      : `${formatDay(start, zone)}, ${formatClock(start, zone)} to ${formatClock(end, zone)}`;
  const failed = volume.lines.find((line) => line.outcome === "failed")?.total ?? 0;
  return (
    <StackedBars
      summary={`${formatCount(volume.total)} attempts, of which ${formatCount(failed)} failed`}
      buckets={volume.buckets.map((each) => ({
        label: label(each.start),
        title: title(each),
        partial: each.partial,
      }))}
      series={volume.lines.map((line) => ({
        name: OUTCOME_WORDS[line.outcome],
        color: STATUS_FILLS[COLORS[line.outcome]],
        values: line.values,
      }))}
      totals={volume.totals}
      unit={COUNT}
      bucketName="Time"
      height={HEIGHT}
      onSelect={(index) => {
        const chosen = volume.buckets[index];
        if (chosen) {
          onNarrow(narrowTo(chosen));
        }
      }}
      selectHint="show the requests of this time"
    />
  );
}
