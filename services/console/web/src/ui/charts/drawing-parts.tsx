/** What the charts drawn by recharts have in common. */

import { CartesianGrid, XAxis, YAxis } from "recharts";
import { AXIS_COLORS, AXIS_HEIGHT, type DrawingProps, INSET_LEFT } from "./plot";

type AxisProps = Pick<DrawingProps, "buckets" | "ticks" | "unit" | "scheme">;

/** Return grid and axes; recharts looks for them among the chart's own children, so this is no component. */
export function axes({ buckets, ticks, unit, scheme }: AxisProps) {
  const colors = AXIS_COLORS[scheme];
  const step = (ticks[1] ?? 1) - (ticks[0] ?? 0);
  const tick = { fill: colors.text, fontSize: 12 };
  return [
    <CartesianGrid key="grid" vertical={false} stroke={colors.grid} />,
    <XAxis
      key="x"
      // Not the label: two positions of a chart may have the same, such as 14:00 of two days.
      dataKey="position"
      tickFormatter={(position: number) => buckets[position]?.label ?? ""}
      scale="band"
      height={AXIS_HEIGHT}
      axisLine={{ stroke: colors.grid }}
      tickLine={false}
      tick={tick}
      minTickGap={24}
      interval="equidistantPreserveStart"
    />,
    <YAxis
      key="y"
      width={INSET_LEFT}
      ticks={[...ticks]}
      domain={[0, ticks.at(-1) ?? 1]}
      interval={0}
      axisLine={false}
      tickLine={false}
      tick={tick}
      tickFormatter={(value: number) => unit.tick(value, step)}
    />,
  ];
}
