import { useNavigate } from "@tanstack/react-router";
import { useVirtualizer } from "@tanstack/react-virtual";
import {
  type MouseEvent,
  memo,
  useCallback,
  useEffect,
  useEffectEvent,
  useMemo,
  useRef,
  useState,
} from "react";
import type { LoggedRequest } from "@/components/request-words";
import { shortcutsEnabled } from "@/shell/shortcut-setting";
import { type RequestColumn, requestColumns, requestPath } from "./cells";
import "./requests.css";

const ROW_HEIGHT = 44;
const NEAR_END = 30;

interface RequestTableProps {
  rows: readonly LoggedRequest[];
  /** The address of the list, without its filters. */
  basePath: string;
  /** Whether there is room for all columns. */
  wide: boolean;
  onNearEnd: () => void;
}

/** Requests as a table of which only the visible rows exist; `j`, `k` and Enter move and open. */
export function RequestTable({ rows, basePath, wide, onNearEnd }: RequestTableProps) {
  const scroller = useRef<HTMLElement>(null);
  const [current, setCurrent] = useState<number | null>(null);
  const navigate = useNavigate();
  const columns = useMemo(
    () => requestColumns(basePath).filter((column) => wide || column.from === "medium"),
    [basePath, wide],
  );
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const first = items[0]?.start ?? 0;
  const rest = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  const lastIndex = items.at(-1)?.index ?? 0;
  const nearEnd = useEffectEvent(onNearEnd);
  useEffect(() => {
    if (rows.length > 0 && lastIndex >= rows.length - NEAR_END) {
      nearEnd();
    }
  }, [lastIndex, rows.length]);

  const onKey = useEffectEvent((event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shortcutsEnabled() || isBusy(event.target)) {
      return;
    }
    if (event.key === "j" || event.key === "k") {
      const next = current === null ? 0 : current + (event.key === "j" ? 1 : -1);
      if (next >= 0 && next < rows.length) {
        event.preventDefault();
        setCurrent(next);
        virtual.scrollToIndex(next);
      }
    } else if (event.key === "Enter" && current !== null && !isControl(event.target)) {
      const row = rows[current];
      if (row) {
        void navigate({ href: requestPath(basePath, row.request_id) });
      }
    }
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKey(event);
    window.addEventListener("keydown", listener);
    return () => window.removeEventListener("keydown", listener);
  }, []);
  const open = useCallback(
    (event: MouseEvent, row: LoggedRequest) => {
      const chosen = window.getSelection()?.toString() ?? "";
      if (!event.defaultPrevented && chosen === "" && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
        void navigate({ href: requestPath(basePath, row.request_id) });
      }
    },
    [navigate, basePath],
  );
  return (
    <section
      className="request-scroll table-region"
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
      tabIndex={0}
      aria-label="Requests, newest first"
      ref={scroller}
    >
      <table className="request-table" aria-rowcount={rows.length + 1}>
        <colgroup>
          {columns.map((column) => (
            <col key={column.id} style={column.width ? { width: `${column.width}rem` } : undefined} />
          ))}
        </colgroup>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.id} scope="col" className={column.numeric ? "numeric" : undefined}>
                {column.header}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Gap height={first} columns={columns} />
          {items.map(({ index }) => {
            const row = rows[index];
            return row ? (
              <RequestRow
                key={row.request_id}
                row={row}
                index={index}
                current={index === current}
                columns={columns}
                onOpen={open}
              />
            ) : null;
          })}
          <Gap height={rest} columns={columns} />
        </tbody>
      </table>
    </section>
  );
}

interface RequestRowProps {
  row: LoggedRequest;
  index: number;
  current: boolean;
  columns: readonly RequestColumn[];
  onOpen: (event: MouseEvent, row: LoggedRequest) => void;
}

/** One row, drawn again only if something of it has changed: events arrive every second. */
const RequestRow = memo(function RequestRow({ row, index, current, columns, onOpen }: RequestRowProps) {
  return (
    <tr aria-rowindex={index + 2} data-current={current || undefined} onClick={(event) => onOpen(event, row)}>
      {columns.map((column) => (
        <td key={column.id} className={column.numeric ? "numeric" : undefined}>
          {column.cell(row)}
        </td>
      ))}
    </tr>
  );
});

function Gap({ height, columns }: { height: number; columns: readonly RequestColumn[] }) {
  return height > 0 ? (
    <tr className="request-gap" aria-hidden>
      <td colSpan={columns.length} style={{ height }} />
    </tr>
  ) : null;
}

function isBusy(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) ||
      target.closest("[role=dialog]") !== null)
  );
}

function isControl(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("a, button, [role=button], [role=option]") !== null;
}
