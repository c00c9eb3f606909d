import { Button, Collapse, Group, Table, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import type { ReactNode } from "react";
import { ChevronDownIcon, ChevronRightIcon } from "./icons";
import { TableRegion } from "./table-region";

interface ChartFrameProps {
  /** What the chart shows, in one sentence with its main figure: read instead of the picture. */
  summary: string;
  /** The same data as a table. The first column names the row. */
  table: { readonly head: readonly string[]; readonly rows: readonly (readonly string[])[] };
  children: ReactNode;
}

/** A picture of data, followed by "Show as table". */
export function ChartFrame({ summary, table, children }: ChartFrameProps) {
  const [opened, { toggle }] = useDisclosure(false);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  return (
    <div>
      <figure aria-label={summary} className="chart-figure">
        {children}
      </figure>
      <Group>
        <Button
          variant="subtle"
          size="compact-sm"
          leftSection={<Chevron size={14} aria-hidden />}
          onClick={toggle}
          aria-expanded={opened}
        >
          {opened ? "Hide table" : "Show as table"}
        </Button>
      </Group>
      <Collapse expanded={opened}>{opened ? <ChartTable summary={summary} table={table} /> : null}</Collapse>
    </div>
  );
}

function ChartTable({ summary, table }: Pick<ChartFrameProps, "summary" | "table">) {
  return (
    <TableRegion label={summary}>
      <Table verticalSpacing={4}>
        <Table.Thead>
          <Table.Tr>
            {table.head.map((text, index) => (
              <Table.Th key={text} scope="col" className={index > 0 ? "numeric" : undefined}>
                {text}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {table.rows.map((row, line) => (
            <Table.Tr key={line}>
              {row.map((text, index) =>
                index === 0 ? (
                  <Table.Th key={index} scope="row" fw={400}>
                    {text}
                  </Table.Th>
                ) : (
                  <Table.Td key={index} className="numeric">
                    <Text span inherit>
                      {text}
                    </Text>
                  </Table.Td>
                ),
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </TableRegion>
  );
}
