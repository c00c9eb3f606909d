import type { ReactNode } from "react";
import { type Column, DataTable } from "./data-table";
import { LoadMore } from "./load-more";
import { QueryState } from "./query-state";

interface Page<T> {
  readonly data: readonly T[];
}

interface PagedTableProps<T> {
  /** What is listed, for messages: "the teams". */
  what: string;
  caption: string;
  /** What is listed, in the plural, for the count: "teams". */
  noun: string;
  height: number;
  query: Parameters<typeof QueryState<{ pages: Page<T>[] }>>[0]["query"] & {
    readonly hasNextPage: boolean;
    readonly isFetchingNextPage: boolean;
    readonly fetchNextPage: () => unknown;
  };
  columns: readonly Column<T>[];
  rowKey: (row: T) => string;
  empty: ReactNode;
  /** Which of the loaded rows are shown; all without it. */
  filter?: (row: T) => boolean;
}

/** A table of a list that is loaded page by page, with its states and the button for more. */
export function PagedTable<T>(props: PagedTableProps<T>) {
  const { what, caption, noun, height, query, columns, rowKey, empty, filter = () => true } = props;
  return (
    <QueryState what={what} query={query} height={height}>
      {(data) => {
        const rows = data.pages.flatMap((page) => page.data).filter(filter);
        return (
          <>
            <DataTable caption={caption} columns={columns} rows={rows} rowKey={rowKey} empty={empty} />
            <LoadMore
              shown={rows.length}
              noun={noun}
              more={query.hasNextPage}
              busy={query.isFetchingNextPage}
              onMore={() => void query.fetchNextPage()}
            />
          </>
        );
      }}
    </QueryState>
  );
}
