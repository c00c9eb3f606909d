import { formatExact } from "@/format/money";
import { formatCount } from "@/format/numbers";
import { Button, type Column, DataTable } from "@/ui";
import { monthName, STATE_WORDS, type StatementSummary } from "./rows";

interface MonthTableProps {
  months: readonly StatementSummary[];
  current: string;
  onChoose: (month: string) => void;
}

/** The months that have a statement, newest first. */
export function MonthTable({ months, current, onChoose }: MonthTableProps) {
  return (
    <DataTable
      caption="Months with a statement"
      columns={columnsOf(current, onChoose)}
      rows={months}
      rowKey={(month) => month.month}
      currentKey={current}
    />
  );
}

function columnsOf(current: string, onChoose: (month: string) => void): readonly Column<StatementSummary>[] {
  return [
    {
      id: "month",
      header: "Month",
      rowHeader: true,
      cell: (month) => (
        <Button
          variant="subtle"
          size="compact-sm"
          aria-pressed={month.month === current}
          onClick={() => onChoose(month.month)}
        >
          {monthName(month.month)}
        </Button>
      ),
    },
    { id: "state", header: "State", cell: (month) => STATE_WORDS[month.state] },
    { id: "requests", header: "Requests", numeric: true, cell: (month) => formatCount(month.usage.requests) },
    {
      id: "opening",
      header: "Opening",
      numeric: true,
      cell: (month) => formatExact(month.opening_micro_usd),
    },
    {
      id: "credited",
      header: "Credited",
      numeric: true,
      cell: (month) => formatExact(month.credited_micro_usd),
    },
    { id: "charged", header: "Charged", numeric: true, cell: (month) => formatExact(month.posted_micro_usd) },
    {
      id: "closing",
      header: "Closing",
      numeric: true,
      cell: (month) => formatExact(month.closing_micro_usd),
    },
  ];
}
