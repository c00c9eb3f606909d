import { Skeleton, useComputedColorScheme } from "@mantine/core";
import { type ComponentType, lazy, Suspense } from "react";
import { ChartFrame } from "../chart-frame";
import { ChartSurface, type Reading } from "./chart-surface";
import { Legend } from "./legend";
import {
  bucketTitle,
  type ChartBucket,
  type ChartSeries,
  type ChartUnit,
  type DrawingProps,
  INSET_LEFT,
  INSET_RIGHT,
} from "./plot";
import { axisTicks, highestPoint, highestStack } from "./prepare";
import "./charts.css";

const BarsDrawing = lazy(() => import("./stacked-bars-drawing"));
const LinesDrawing = lazy(() => import("./lines-drawing"));

interface TimeChartProps {
  /** What the chart shows, in one sentence with its main figure. */
  summary: string;
  buckets: readonly ChartBucket[];
  /** From the bottom to the top, with the largest first. */
  series: readonly ChartSeries[];
  unit: ChartUnit;
  /** The head of the table's first column: "Day". */
  bucketName: string;
  height?: number;
  /** What a click, or Enter, at a position does, and in words: "open its requests". */
  onSelect?: ((index: number) => void) | undefined;
  selectHint?: string | undefined;
}

interface StackedBarsProps extends TimeChartProps {
  /** The total of each position as the API gives it; without it, readings and the table have none. */
  totals?: readonly number[] | undefined;
}

/** Amounts over time, split by something: bars from zero, those that are not complete hatched. */
export function StackedBars({ totals, ...props }: StackedBarsProps) {
  return (
    <TimeChart
      {...props}
      totals={totals}
      highest={highestStack(props.series.map((each) => each.values))}
      Drawing={BarsDrawing}
      absent={props.unit.text(0)}
      hatched
    />
  );
}

/** Durations or rates over time: lines without smoothing, with a gap where there was nothing to measure. */
export function Lines(props: TimeChartProps) {
  return (
    <TimeChart
      {...props}
      highest={highestPoint(props.series.map((each) => each.values))}
      Drawing={LinesDrawing}
      absent="no data"
    />
  );
}

interface DrawnProps extends StackedBarsProps {
  highest: number;
  Drawing: ComponentType<DrawingProps>;
  /** What is written where a series has no value. */
  absent: string;
  /** Whether positions that are not complete are hatched. */
  hatched?: boolean;
}

function TimeChart(props: DrawnProps) {
  const { summary, buckets, series, unit, bucketName, height = 240, onSelect, selectHint } = props;
  const { totals, highest, Drawing, absent, hatched = false } = props;
  const scheme = useComputedColorScheme("light");
  const textOf = (value: number | null | undefined) =>
    value === null || value === undefined ? absent : unit.text(value);
  const totalAt = (index: number) => (totals ? [textOf(totals[index])] : []);
  // Where there is a total, what adds nothing to it is not read; the table has it.
  const isRead = (value: number | null | undefined) => !totals || (value ?? 0) > 0;
  const readAt = (index: number): Reading => ({
    title: buckets[index] ? bucketTitle(buckets[index]) : "",
    lines: [
      ...totalAt(index).map((text) => ({ name: "Total", text })),
      ...series
        .filter((each) => isRead(each.values[index]))
        .map((each) => ({
          name: each.name,
          text: textOf(each.values[index]),
          color: each.color[scheme],
        })),
    ],
  });
  const table = {
    head: [bucketName, ...series.map((each) => each.name), ...(totals ? ["Total"] : [])],
    rows: buckets.map((bucket, index) => [
      bucketTitle(bucket),
      ...series.map((each) => textOf(each.values[index])),
      ...totalAt(index),
    ]),
  };
  return (
    <ChartFrame summary={summary} table={table}>
      <Legend entries={series} partial={hatched && buckets.some((bucket) => bucket.partial)} />
      <ChartSurface
        label={summary}
        count={buckets.length}
        insetLeft={INSET_LEFT}
        insetRight={INSET_RIGHT}
        height={height}
        readAt={readAt}
        onSelect={onSelect}
        selectHint={selectHint}
      >
        <Suspense fallback={<Skeleton height={height} />}>
          <Drawing
            buckets={buckets}
            series={series}
            ticks={axisTicks(highest, 4, unit.smallestStep)}
            unit={unit}
            height={height}
            scheme={scheme}
          />
        </Suspense>
      </ChartSurface>
    </ChartFrame>
  );
}
