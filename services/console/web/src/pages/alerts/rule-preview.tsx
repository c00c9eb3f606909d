import type { Schemas } from "@/api/client";
import { formatTime } from "@/format/time";
import { useTimeZone } from "@/session/time-zone";
import { List, Stack, Text } from "@/ui";
import { COUNT, Lines, MONEY, PALETTE, REST_COLOR } from "@/ui/charts";
import { formatValue } from "./metrics";

type Preview = Schemas["AlertPreview"];

const MOST_LISTED = 5;
const MICRO = 1_000_000;

/** When a rule would have fired in the last days. */
export function RulePreview({ preview }: { preview: Preview }) {
  const zone = useTimeZone();
  if (!preview.can_be_previewed) {
    return (
      <Text size="sm">{preview.reason ?? "What is recorded does not say when it would have fired."}</Text>
    );
  }
  const alerts = preview.alerts ?? [];
  const listed = alerts.slice(-MOST_LISTED).reverse();
  return (
    <Stack gap="xs" aria-live="polite">
      <Text size="sm" fw={600}>
        {firedInWords(preview.fired)}
      </Text>
      {listed.length > 0 ? (
        <List size="sm" spacing={2}>
          {listed.map((alert) => (
            <List.Item key={`${alert.subject} ${alert.fired_at}`}>
              {formatTime(alert.fired_at, zone)}: {formatValue(alert.value, preview.unit)}
              {alert.subject ? ` (${alert.subject})` : ""}
              {alert.resolved_at ? `, over at ${formatTime(alert.resolved_at, zone)}` : ", still open"}
            </List.Item>
          ))}
          {preview.fired > listed.length ? (
            <List.Item>and {preview.fired - listed.length} before</List.Item>
          ) : null}
        </List>
      ) : null}
      <PreviewChart preview={preview} zone={zone} />
    </Stack>
  );
}

function firedInWords(fired: number): string {
  return fired === 0
    ? "It would not have fired in the last 30 days."
    : `It would have fired ${fired === 1 ? "once" : `${fired} times`} in the last 30 days.`;
}

function PreviewChart({ preview, zone }: { preview: Preview; zone: string }) {
  const points = preview.points ?? [];
  if (points.length < 2) {
    return null;
  }
  const isMoney = preview.unit === "usd";
  // For the height of a point a rounding does not matter.
  const height = (value: string | null | undefined) =>
    value === null || value === undefined ? null : Number(value) * (isMoney ? MICRO : 1);
  return (
    <Lines
      summary="The figure that the rule watches, and what it is compared with"
      bucketName="Time"
      buckets={points.map(({ at }) => ({
        label: formatTime(at, zone),
        title: formatTime(at, zone),
        partial: false,
      }))}
      series={[
        { name: "Figure", color: PALETTE[0] ?? REST_COLOR, values: points.map(({ value }) => height(value)) },
        { name: "Fires at", color: REST_COLOR, values: points.map(({ limit }) => height(limit)) },
      ]}
      unit={isMoney ? MONEY : COUNT}
      height={180}
    />
  );
}
