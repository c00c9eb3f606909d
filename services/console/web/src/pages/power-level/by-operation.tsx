import { type Column, DataTable, EmptyState, Money, Panel, Stack, Text } from "@/ui";
import {
  type Comparison,
  LEVEL_WORDS,
  LEVELS,
  type Level,
  modelsInWords,
  type OfOperation,
  operationKey,
  operationName,
} from "./levels";

type Row = NonNullable<Comparison["operations"]>[number];

/** Which model answers each operation at each level, and what a month of it costs. */
export function LevelsByOperation({ comparison }: { comparison: Comparison }) {
  const rows = comparison.operations ?? [];
  const columns: readonly Column<Row>[] = [
    { id: "operation", header: "Operation", rowHeader: true, cell: (row) => operationName(row) },
    {
      id: "requests",
      header: "Requests a month",
      numeric: true,
      cell: (row) => row.requests_per_month.toLocaleString("en-US"),
    },
    ...LEVELS.map((level) => ({
      id: level,
      header: LEVEL_WORDS[level].title,
      cell: (row: Row) => <Cell found={atLevel(comparison, level, row)} />,
    })),
  ];
  return (
    <Panel title="Model by operation">
      <DataTable
        caption="Models and costs of each operation at each level"
        columns={columns}
        rows={rows}
        rowKey={operationKey}
        empty={
          <EmptyState title="There was no request in these days">
            Send requests to compare the levels.
          </EmptyState>
        }
      />
      <Text size="xs" c="dimmed">
        A request that names a model keeps it at every level: only its price factor differs.
      </Text>
    </Panel>
  );
}

function atLevel(comparison: Comparison, level: Level, row: Row): OfOperation | undefined {
  return comparison.levels
    .find((each) => each.level === level)
    ?.operations?.find((each) => operationKey(each) === operationKey(row));
}

function Cell({ found }: { found: OfOperation | undefined }) {
  if (!found) {
    return <Text size="sm">not sampled</Text>;
  }
  return (
    <Stack gap={0}>
      <Text size="sm">{modelsInWords(found)}</Text>
      <Text size="xs" c="dimmed">
        <Money micro={found.amounts.spend_micro_usd} /> a month
      </Text>
      {found.reason ? (
        <Text size="xs" c="error">
          {found.reason}
        </Text>
      ) : null}
    </Stack>
  );
}
