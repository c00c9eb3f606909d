import { query } from "@/api/client";
import { formatCount } from "@/format/numbers";
import {
  Button,
  type Column,
  DataTable,
  EmptyState,
  List,
  Panel,
  QueryState,
  Stack,
  StatusMark,
  Text,
} from "@/ui";
import {
  amountText,
  detailsOf,
  type Reconciliation,
  type ReconciliationRow,
  reasonsOf,
  signedAmount,
  signedTokens,
  statedTokens,
  summaryOf,
} from "./reconciliation";

const COLUMNS: Column<ReconciliationRow>[] = [
  { id: "model", header: "Model", rowHeader: true, cell: (row) => row.model ?? "all models" },
  { id: "day", header: "Day (UTC)", cell: (row) => row.day ?? "all days" },
  {
    id: "stated",
    header: "Provider's tokens",
    numeric: true,
    cell: (row) => {
      const tokens = statedTokens(row);
      return tokens === null ? "–" : formatCount(tokens);
    },
  },
  {
    id: "tokens",
    header: "Recorded",
    numeric: true,
    cell: (row) => formatCount(row.prompt_tokens + row.completion_tokens),
  },
  { id: "more", header: "Difference", numeric: true, cell: (row) => signedTokens(row.token_difference) },
  { id: "charged", header: "Provider", numeric: true, cell: (row) => amountText(row.provider_cost_usd) },
  { id: "cost", header: "Recorded", numeric: true, cell: (row) => amountText(row.cost_usd) },
  {
    id: "difference",
    header: "Difference",
    numeric: true,
    cell: (row) => signedAmount(row.cost_difference_usd),
  },
  { id: "why", header: "May be explained by", cell: (row) => reasonsOf(row).join(", ") || "–" },
];

/** One comparison: its rows, the largest differences first, and what may explain them. */
export function ReportPanel({ reportId, onClose }: { reportId: string; onClose: () => void }) {
  const found = query.useQuery("get", "/api/v1/reconciliations/{reconciliation_id}", {
    params: { path: { reconciliation_id: reportId } },
  });
  return (
    <Panel
      title="Comparison"
      actions={
        <Button variant="default" size="xs" onClick={onClose}>
          Close
        </Button>
      }
    >
      <QueryState what="the comparison" query={found} height={260}>
        {(report) => <ReportDetails report={report} />}
      </QueryState>
    </Panel>
  );
}

function ReportDetails({ report }: { report: Reconciliation }) {
  const details = detailsOf(report);
  return (
    <Stack gap="sm">
      <StatusMark kind={report.over_tolerance ? "warning" : "ok"}>{summaryOf(report)}</StatusMark>
      <Text size="sm" c="dimmed">
        {report.provider}, {report.since} to {report.until} (UTC): {formatCount(report.totals.attempts)}{" "}
        attempts, {formatCount(report.totals.unreported)} of unknown usage,{" "}
        {formatCount(report.totals.estimated)} estimated, {formatCount(report.totals.unpriced)} without a
        price.
        {report.days_complete ? "" : " The provider may still add usage to the last days."}
      </Text>
      <DataTable
        caption="Differences by day and model"
        columns={COLUMNS}
        rows={report.rows ?? []}
        rowKey={(row) => `${row.day ?? ""} ${row.model ?? ""}`}
        empty={<EmptyState title="Nothing was used">Neither side has usage on these days.</EmptyState>}
      />
      {report.more_rows ? (
        <Text size="sm">{formatCount(report.more_rows)} more rows have smaller differences.</Text>
      ) : null}
      {details.length > 0 ? (
        <List size="sm" spacing={4}>
          {details.map((detail) => (
            <List.Item key={detail}>{detail}</List.Item>
          ))}
        </List>
      ) : null}
    </Stack>
  );
}
