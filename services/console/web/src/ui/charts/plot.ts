/** The measures that the drawings of recharts and what lies over them share. */

import type { ColorPair } from "./colors";
import type { Point } from "./prepare";

export const INSET_LEFT = 64;
export const INSET_RIGHT = 8;
export const INSET_TOP = 8;
export const AXIS_HEIGHT = 26;

/** One position of a chart over time. */
export interface ChartBucket {
  /** Short, for the axis: `Oct 4`. */
  readonly label: string;
  /** In full, for readings and the table: `Sunday, Oct 4`. */
  readonly title?: string;
  /** Whether it is not over, or not all of it is recorded. */
  readonly partial?: boolean;
}

export interface ChartSeries {
  readonly name: string;
  readonly color: ColorPair;
  readonly values: readonly Point[];
}

/** How numbers of a chart are written. */
export interface ChartUnit {
  /** In readings and the table: exact. */
  readonly text: (value: number) => string;
  /** On the axis, whose steps are `step`. */
  readonly tick: (value: number, step: number) => string;
  /** The smallest step of the axis: 1 for counts. */
  readonly smallestStep?: number;
}

export interface DrawingProps {
  readonly buckets: readonly ChartBucket[];
  readonly series: readonly ChartSeries[];
  readonly ticks: readonly number[];
  readonly unit: ChartUnit;
  readonly height: number;
  readonly scheme: "light" | "dark";
}

/** Return the name of a position in full, with what is missing of it. */
export function bucketTitle(bucket: ChartBucket): string {
  return `${bucket.title ?? bucket.label}${bucket.partial ? " (so far)" : ""}`;
}

export const AXIS_COLORS = {
  light: { grid: "#dee2e6", text: "#495057", background: "#ffffff" },
  dark: { grid: "#424242", text: "#c1c2c5", background: "#242424" },
} as const;
