import { useComputedColorScheme } from "@mantine/core";
import type { ReactNode } from "react";
import { STATUS_FILLS, type StatusFill } from "./colors";
import { trackPosition } from "./prepare";
import "./charts.css";

export interface WaterfallRow {
  readonly id: string;
  readonly label: ReactNode;
  /** When it began and how long it took, in milliseconds from the start of all. */
  readonly start: number;
  readonly duration: number;
  readonly status: StatusFill | "info";
  /** How many rows it is inside of. */
  readonly depth?: number;
  /** The time in words: `1.48 s`. */
  readonly text: string;
  /** What is shown below the row. */
  readonly detail?: ReactNode;
}

const INFO = { light: "#0b7285", dark: "#3bc9db" } as const;
const DEEPEST = 6;

/** Where the time of something went: one row a step, from left to right in time. Below 768 px the bar is under its label. */
export function Waterfall({
  rows,
  total,
  label,
}: {
  rows: readonly WaterfallRow[];
  total: number;
  label: string;
}) {
  const scheme = useComputedColorScheme("light");
  return (
    <ol className="waterfall" aria-label={label}>
      {rows.map((row) => {
        const { left, width } = trackPosition(row.start, row.duration, total);
        const fill = row.status === "info" ? INFO[scheme] : STATUS_FILLS[row.status][scheme];
        return (
          <li key={row.id}>
            <span style={{ paddingInlineStart: `${Math.min(row.depth ?? 0, DEEPEST)}rem` }}>{row.label}</span>
            <span className="waterfall-track" aria-hidden>
              <span
                className="waterfall-bar"
                style={{ left: `${left}%`, width: `${width}%`, background: fill }}
              />
            </span>
            <span className="numeric">{row.text}</span>
            {row.detail ? <div className="waterfall-detail">{row.detail}</div> : null}
          </li>
        );
      })}
    </ol>
  );
}
