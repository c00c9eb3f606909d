import { Button, Table, Text } from "@mantine/core";
import type { ReactNode } from "react";
import { DownIcon, UpIcon } from "./icons";
import { TableRegion } from "./table-region";

export interface Column<T> {
  readonly id: string;
  readonly header: string;
  readonly cell: (row: T) => ReactNode;
  /** Align to the right with figures of one width. */
  readonly numeric?: boolean;
  /** Whether the list can be sorted by the column; the page does it. */
  readonly sortable?: boolean;
  /** The column that names the row, which screen readers read with every cell. */
  readonly rowHeader?: boolean;
}

export interface Sorting {
  readonly id: string;
  readonly descending: boolean;
}

interface DataTableProps<T> {
  /** What the table lists; hidden, unless `showCaption`. */
  caption: string;
  showCaption?: boolean;
  columns: readonly Column<T>[];
  rows: readonly T[];
  rowKey: (row: T) => string;
  sorting?: Sorting;
  onSort?: (sorting: Sorting) => void;
  /** Shown instead of rows, if there are none. */
  empty?: ReactNode;
  /** The row that is open or chosen. */
  currentKey?: string | null;
}

/** A table that scrolls within its own region on narrow screens. */
export function DataTable<T>(props: DataTableProps<T>) {
  const { caption, showCaption = false, columns, rows, rowKey, sorting, onSort, empty, currentKey } = props;
  if (rows.length === 0 && empty) {
    return <>{empty}</>;
  }
  return (
    <TableRegion label={caption}>
      <Table highlightOnHover miw={Math.min(columns.length * 110, 900)}>
        {showCaption ? <Table.Caption>{caption}</Table.Caption> : null}
        <Table.Thead>
          <Table.Tr>
            {columns.map((column) => (
              <HeaderCell key={column.id} column={column} sorting={sorting} onSort={onSort} />
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={rowKey(row)} data-current={rowKey(row) === currentKey || undefined}>
              {columns.map((column) =>
                column.rowHeader ? (
                  <Table.Th key={column.id} scope="row" fw={500}>
                    {column.cell(row)}
                  </Table.Th>
                ) : (
                  <Table.Td key={column.id} className={column.numeric ? "numeric" : undefined}>
                    {column.cell(row)}
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

interface HeaderCellProps<T> {
  column: Column<T>;
  sorting: Sorting | undefined;
  onSort: ((sorting: Sorting) => void) | undefined;
}

function HeaderCell<T>({ column, sorting, onSort }: HeaderCellProps<T>) {
  const current = sorting?.id === column.id;
  const order = current ? (sorting.descending ? "descending" : "ascending") : undefined;
  const className = column.numeric ? "numeric" : undefined;
  if (!column.sortable || !onSort) {
    return (
      <Table.Th scope="col" className={className}>
        {column.header}
      </Table.Th>
    );
  }
  const Icon = sorting?.descending ? DownIcon : UpIcon;
  return (
    <Table.Th scope="col" className={className} aria-sort={order}>
      <Button
        variant="subtle"
        color="gray"
        size="compact-sm"
        c="inherit"
        rightSection={current ? <Icon size={14} aria-hidden /> : null}
        onClick={() => onSort({ id: column.id, descending: current ? !sorting.descending : true })}
      >
        <Text span inherit fw={700}>
          {column.header}
        </Text>
      </Button>
    </Table.Th>
  );
}
