import { query } from "@/api/client";
import { useBillingZone } from "@/components/use-tenant-view";
import { EmptyState, Page, Panel, QueryState } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { text, usePageSearch } from "@/url/search";
import { MonthTable } from "./month-table";
import { StatementPanels } from "./statement-panels";

const SEARCH = {
  month: text(/^\d{4}-(?:0[1-9]|1[0-2])$/),
  by: text(/^[a-z_]+(?::[A-Za-z0-9_.-]{1,64})?$/),
};

/** What each month cost, and for what: equal to the ledger to the last micro-dollar. */
export default function InvoicesPage() {
  const search = usePageSearch(SEARCH);
  const zone = useBillingZone();
  const months = query.useQuery("get", "/api/v1/invoices", {});
  return (
    <Page
      title="Invoices"
      description={`A statement for each calendar month${zone ? ` in ${zone}` : ""}: credits, usage, and what connects them.`}
    >
      <DroppedNotice dropped={search.dropped} />
      <QueryState what="the months" query={months} height={480}>
        {({ statements }) =>
          statements.length === 0 ? (
            <EmptyState title="No statement yet">
              The first month is that of the first credits or of the first request.
            </EmptyState>
          ) : (
            <>
              <Panel title="Months">
                <MonthTable
                  months={statements}
                  current={search.values.month || statements[0]?.month || ""}
                  onChoose={(month) => search.change({ month }, "push")}
                />
              </Panel>
              <StatementPanels
                month={search.values.month || statements[0]?.month || ""}
                by={search.values.by || "lines"}
                onBy={(by) => search.change({ by: by === "lines" ? "" : by })}
              />
            </>
          )
        }
      </QueryState>
    </Page>
  );
}
