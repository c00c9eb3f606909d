import { query } from "@/api/client";
import { formatExact } from "@/format/money";
import { formatCount } from "@/format/numbers";
import { type Column, DataTable, DownloadButton, NativeSelect, Panel, QueryState, Text } from "@/ui";
import {
  type AmountRow,
  accountRows,
  choicesOf,
  costText,
  monthName,
  reconciliationRows,
  type Statement,
  type UsageRow,
  usageRows,
} from "./rows";

interface StatementPanelsProps {
  month: string;
  by: string;
  onBy: (by: string) => void;
}

/** The statement of one month. */
export function StatementPanels({ month, by, onBy }: StatementPanelsProps) {
  const statement = query.useQuery("get", "/api/v1/invoices/{month}", { params: { path: { month } } });
  return (
    <QueryState what={`the statement of ${monthName(month)}`} query={statement} height={720}>
      {(data) => (typeof data === "string" ? null : <Panels statement={data} by={by} onBy={onBy} />)}
    </QueryState>
  );
}

function Panels({ statement, by, onBy }: { statement: Statement; by: string; onBy: (by: string) => void }) {
  const name = monthName(statement.month);
  const path = (form: string) => `/api/v1/invoices/${statement.month}?format=${form}`;
  const file = (form: string) => `keyferry-invoice-${statement.tenant}-${statement.month}.${form}`;
  return (
    <>
      <Panel
        title={`Credits in ${name}`}
        actions={
          <>
            <DownloadButton label="PDF" path={path("pdf")} filename={file("pdf")} />
            <DownloadButton label="CSV" path={path("csv")} filename={file("csv")} />
          </>
        }
      >
        <DataTable
          caption={`Credits in ${name}`}
          columns={AMOUNT_COLUMNS}
          rows={accountRows(statement)}
          rowKey={(row) => row.id}
        />
      </Panel>
      <Panel
        title={`Usage in ${name}`}
        actions={
          <NativeSelect
            label="Split by"
            value={choicesOf(statement).some((choice) => choice.value === by) ? by : "lines"}
            data={[...choicesOf(statement)]}
            onChange={(event) => onBy(event.currentTarget.value)}
          />
        }
      >
        <DataTable
          caption={`Usage in ${name}`}
          columns={USAGE_COLUMNS}
          rows={usageRows(statement, by)}
          rowKey={(row) => row.id}
        />
        <Text size="sm" c="dimmed">
          Provider cost is at list prices. On your own keys it is an estimate, and the provider bills it to
          you. A plus sign marks a sum without requests of unknown cost.
        </Text>
      </Panel>
      <Panel title="From usage to charges">
        <DataTable
          caption="From usage to charges"
          columns={AMOUNT_COLUMNS}
          rows={reconciliationRows(statement)}
          rowKey={(row) => row.id}
        />
        <Text size="sm" c="dimmed">
          Requests count in the month in which they began, charges in the one in which they were posted.
        </Text>
      </Panel>
    </>
  );
}

const AMOUNT_COLUMNS: readonly Column<AmountRow>[] = [
  { id: "what", header: "What", rowHeader: true, cell: (row) => row.what },
  {
    id: "count",
    header: "Number",
    numeric: true,
    cell: (row) => (row.count === null ? "" : formatCount(row.count)),
  },
  { id: "amount", header: "Amount", numeric: true, cell: (row) => row.amount },
];

const USAGE_COLUMNS: readonly Column<UsageRow>[] = [
  { id: "name", header: "What", rowHeader: true, cell: (row) => row.name },
  { id: "requests", header: "Requests", numeric: true, cell: (row) => formatCount(row.figures.requests) },
  { id: "attempts", header: "Attempts", numeric: true, cell: (row) => formatCount(row.figures.attempts) },
  { id: "tokens", header: "Tokens", numeric: true, cell: (row) => formatCount(row.figures.total_tokens) },
  { id: "cost", header: "Provider cost", numeric: true, cell: (row) => costText(row.figures) },
  {
    id: "charge",
    header: "Charge",
    numeric: true,
    cell: (row) => formatExact(row.figures.charge_micro_usd),
  },
];
