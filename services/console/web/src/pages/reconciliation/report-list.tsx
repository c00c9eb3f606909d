import { query } from "@/api/client";
import { Button, type Column, DataTable, EmptyState, Panel, QueryState, StatusMark, Time } from "@/ui";
import { amountText, type Reconciliation, signedAmount } from "./reconciliation";

/** The comparisons of the tenant, newest first. */
export function ReportList({ current, onOpen }: { current: string; onOpen: (reportId: string) => void }) {
  const reports = query.useQuery("get", "/api/v1/reconciliations", { params: { query: { limit: 50 } } });
  const columns: Column<Reconciliation>[] = [
    {
      id: "provider",
      header: "Provider",
      rowHeader: true,
      cell: (each) => (
        <Button variant="subtle" size="compact-sm" onClick={() => onOpen(each.reconciliation_id)}>
          {each.provider}
        </Button>
      ),
    },
    { id: "days", header: "Days (UTC)", cell: (each) => `${each.since} to ${each.until}` },
    {
      id: "stated",
      header: "Charged",
      numeric: true,
      cell: (each) => amountText(each.totals.provider_cost_usd),
    },
    { id: "recorded", header: "Recorded", numeric: true, cell: (each) => amountText(each.totals.cost_usd) },
    {
      id: "difference",
      header: "Difference",
      numeric: true,
      cell: (each) => signedAmount(each.totals.cost_difference_usd),
    },
    {
      id: "state",
      header: "Tolerance",
      cell: (each) => (
        <StatusMark kind={each.over_tolerance ? "warning" : "ok"}>
          {each.over_tolerance ? "exceeded" : "within"}
        </StatusMark>
      ),
    },
    { id: "at", header: "Compared", cell: (each) => <Time iso={each.created_at} /> },
  ];
  return (
    <Panel title="Comparisons">
      <QueryState what="comparisons" query={reports} height={200}>
        {(data) => (
          <DataTable
            caption="Comparisons with providers"
            columns={columns}
            rows={data.reconciliations}
            rowKey={(each) => each.reconciliation_id}
            currentKey={current || null}
            empty={
              <EmptyState title="Nothing was compared yet">
                Choose a provider and the days of its invoice, and compare.
              </EmptyState>
            }
          />
        )}
      </QueryState>
    </Panel>
  );
}
