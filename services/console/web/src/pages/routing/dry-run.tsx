import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { decimalToMicroUsd } from "@/format/money";
import { countOf } from "@/format/numbers";
import { useTenant } from "@/session/session";
import { Alert, type Column, DataTable, EmptyState, Money, RouteLink, Stack, Text } from "@/ui";

type Report = Schemas["DryRunReport"];
type Move = Schemas["ModelMove"];
type Example = Schemas["DryRunExample"];

const REFUSED = "refused";

const MOVES: readonly Column<Move>[] = [
  { id: "before", header: "From", cell: (row) => row.before ?? REFUSED, rowHeader: true },
  { id: "after", header: "To", cell: (row) => row.after ?? REFUSED },
  { id: "requests", header: "Requests", cell: (row) => row.requests, numeric: true },
  { id: "cost", header: "Cost", cell: (row) => <CostChange {...row} />, numeric: true },
  {
    id: "latency",
    header: "Median latency",
    cell: (row) => `${latency(row.latency_before_ms)} → ${latency(row.latency_after_ms)}`,
    numeric: true,
  },
];

function latency(milliseconds: number | null | undefined): string {
  return milliseconds === null || milliseconds === undefined ? "unknown" : formatDuration(milliseconds);
}

interface CostChangeProps {
  cost_before_usd?: string | null;
  cost_after_usd?: string | null;
}

function CostChange({ cost_before_usd: before, cost_after_usd: after }: CostChangeProps) {
  return (
    <>
      <Money micro={before ? decimalToMicroUsd(before) : null} /> →{" "}
      <Money micro={after ? decimalToMicroUsd(after) : null} />
    </>
  );
}

/** What would have been different for past requests. */
export function DryRun({ report }: { report: Report }) {
  if (report.requests === 0) {
    return <EmptyState title="There were no requests in the last 7 days to plan again" />;
  }
  const newlyRefused = report.newly_refused ?? 0;
  return (
    <Stack gap="sm">
      <Text size="sm">
        {countOf(report.changed ?? 0, "request")} of {report.requests} would go to another model. Cost:{" "}
        <CostChange {...report} />. Median latency: {latency(report.latency_before_ms)} →{" "}
        {latency(report.latency_after_ms)}.
        {report.unpriced
          ? ` ${countOf(report.unpriced, "request")} without a known price are not in the cost.`
          : ""}
      </Text>
      {newlyRefused > 0 ? (
        <Alert
          color="red"
          variant="outline"
          title={`${countOf(newlyRefused, "request")} would be left without a model`}
        >
          <Examples examples={(report.examples ?? []).filter(({ after }) => !after)} />
        </Alert>
      ) : (
        <Text size="sm">No request would be left without a model that has one today.</Text>
      )}
      {report.moves && report.moves.length > 0 ? (
        <DataTable
          caption="Requests that would go to another model"
          columns={MOVES}
          rows={report.moves}
          rowKey={(row) => `${row.before} ${row.after}`}
        />
      ) : null}
      {report.matches && report.matches.length > 0 ? (
        <Text size="sm" c="dimmed">
          Matches: {report.matches.map(({ rule, requests }) => `${rule} ${requests}`).join(", ")}.
        </Text>
      ) : null}
    </Stack>
  );
}

function Examples({ examples }: { examples: readonly Example[] }) {
  const tenant = useTenant();
  return (
    <>
      {examples.map((example) => (
        <Text key={example.request_id} size="sm">
          <RouteLink to={`/t/${tenant}/requests/${example.request_id}`} size="sm" underline="always">
            {example.operation ?? "Request"} for {example.model_asked}
          </RouteLink>
          : {example.reason || "no model is left"}
        </Text>
      ))}
    </>
  );
}
