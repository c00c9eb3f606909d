import { useComputedColorScheme } from "@mantine/core";
import type { ReactNode } from "react";
import { ChartFrame } from "../chart-frame";
import { ChartSurface } from "./chart-surface";
import { type ColorPair, PALETTE, REST_COLOR, STATUS_FILLS, type StatusFill } from "./colors";
import { type Point, sharesPermille, shareText, sparkPath } from "./prepare";
import "./charts.css";

export interface Segment {
  readonly name: string;
  readonly color: ColorPair;
  /** What the length stands for. */
  readonly amount: number;
  /** The amount as text, such as `$737.07`. */
  readonly text: string;
  /** More about it, below its words. */
  readonly detail?: ReactNode;
}

/** What shares make up a whole: one bar, with all of it in words below. */
export function SegmentedBar({ segments }: { segments: readonly Segment[] }) {
  const scheme = useComputedColorScheme("light");
  const shares = sharesPermille(segments.map((segment) => segment.amount));
  return (
    <div>
      <div className="segments" aria-hidden>
        {segments.map((segment) =>
          segment.amount > 0 ? (
            <div
              key={segment.name}
              style={{ flexGrow: segment.amount, flexBasis: 3, background: segment.color[scheme] }}
            />
          ) : null,
        )}
      </div>
      <ul className="segment-words">
        {segments.map((segment, index) => (
          <li key={segment.name}>
            <span className="chart-swatch" style={{ background: segment.color[scheme] }} />
            <span>
              {segment.name} <strong>{shareText(shares[index] ?? 0, segment.amount)}</strong> ·{" "}
              <span className="tabular">{segment.text}</span>
            </span>
            {segment.detail ? <span className="segment-detail">{segment.detail}</span> : null}
          </li>
        ))}
      </ul>
    </div>
  );
}

interface SparklineProps {
  values: readonly Point[];
  /** What it shows, in words: "Spend per day, highest $80.12". */
  label: string;
  color?: ColorPair;
  height?: number;
}

const SPARK_WIDTH = 120;

/** The course of one figure, from zero, without axes. */
export function Sparkline({ values, label, color = PALETTE[0] ?? REST_COLOR, height = 28 }: SparklineProps) {
  const scheme = useComputedColorScheme("light");
  return (
    <svg
      className="sparkline"
      role="img"
      aria-label={label}
      viewBox={`0 0 ${SPARK_WIDTH} ${height}`}
      height={height}
      preserveAspectRatio="none"
    >
      <path
        d={sparkPath(values, SPARK_WIDTH, height)}
        fill="none"
        stroke={color[scheme]}
        strokeWidth={1.5}
        strokeLinecap="round"
        vectorEffect="non-scaling-stroke"
      />
    </svg>
  );
}

export interface StripCell {
  readonly status: StatusFill;
  /** How high it is, between 0 and 1; bad ones are higher. */
  readonly level: number;
  /** When it is: `14:00 to 14:30`. */
  readonly title: string;
  /** What happened then: `2 of 40 attempts failed`. */
  readonly text: string;
}

interface StatusStripProps {
  /** What it shows, in one sentence. */
  summary: string;
  cells: readonly StripCell[];
  /** What is written below its ends. */
  from?: string;
  to?: string;
  height?: number;
  onSelect?: ((index: number) => void) | undefined;
  selectHint?: string | undefined;
  /** Leave "Show as table" out where the page shows the same as a table anyway. */
  withoutTable?: boolean;
}

/** When something was well and when it was not: a row of cells that differ in height and colour. */
export function StatusStrip(props: StatusStripProps) {
  const { summary, cells, from = "24 h ago", to = "now", height = 34, onSelect, selectHint } = props;
  const scheme = useComputedColorScheme("light");
  const strip = (
    <>
      <ChartSurface
        label={summary}
        count={cells.length}
        height={height}
        readAt={(index) => ({
          title: cells[index]?.title ?? "",
          lines: [{ name: "", text: cells[index]?.text ?? "" }],
        })}
        onSelect={onSelect}
        selectHint={selectHint}
      >
        <div className="strip">
          {cells.map((cell, index) => (
            <span
              key={index}
              style={{
                height: `${Math.round(30 + 70 * Math.min(1, Math.max(0, cell.level)))}%`,
                background: STATUS_FILLS[cell.status][scheme],
              }}
            />
          ))}
        </div>
      </ChartSurface>
      <div className="strip-ends">
        <span>{from}</span>
        <span>{to}</span>
      </div>
    </>
  );
  if (props.withoutTable) {
    return strip;
  }
  const table = { head: ["Time", "What happened"], rows: cells.map((cell) => [cell.title, cell.text]) };
  return (
    <ChartFrame summary={summary} table={table}>
      {strip}
    </ChartFrame>
  );
}

interface BarCellProps {
  /** How much of the longest bar of the column it is, between 0 and 1. */
  share: number;
  color?: ColorPair;
  children: ReactNode;
}

/** A figure in a cell of a table, with a bar below it. */
export function BarCell({ share, color = PALETTE[0] ?? REST_COLOR, children }: BarCellProps) {
  const scheme = useComputedColorScheme("light");
  const percent = Math.min(100, Math.max(0, share * 100));
  return (
    <span className="bar-cell">
      <span>{children}</span>
      <span className="bar-cell-track" aria-hidden>
        <span style={{ width: `${percent}%`, background: color[scheme] }} />
      </span>
    </span>
  );
}
