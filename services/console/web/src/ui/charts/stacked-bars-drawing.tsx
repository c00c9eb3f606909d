import { useId } from "react";
import { Bar, BarChart, type BarShapeProps } from "recharts";
import { axes } from "./drawing-parts";
import { AXIS_COLORS, type DrawingProps, INSET_RIGHT, INSET_TOP } from "./plot";

/** The bars; loaded when a page shows some, since recharts is large. */
export default function StackedBarsDrawing({ buckets, series, ticks, unit, height, scheme }: DrawingProps) {
  const id = useId().replaceAll(":", "");
  const rows = buckets.map((_, index) => ({
    position: index,
    ...Object.fromEntries(series.map((each, number) => [`s${number}`, each.values[index] ?? 0])),
  }));
  return (
    <BarChart
      responsive
      data={rows}
      style={{ width: "100%", height }}
      margin={{ top: INSET_TOP, right: INSET_RIGHT, bottom: 0, left: 0 }}
      barCategoryGap="15%"
      accessibilityLayer={false}
    >
      <defs>
        {series.map((each, number) => (
          <pattern
            key={number}
            id={`${id}-${number}`}
            width={6}
            height={6}
            patternUnits="userSpaceOnUse"
            patternTransform="rotate(45)"
          >
            <rect width={3.5} height={6} fill={each.color[scheme]} />
          </pattern>
        ))}
      </defs>
      {axes({ buckets, ticks, unit, scheme })}
      {series.map((each, number) => (
        <Bar
          key={each.name}
          dataKey={`s${number}`}
          name={each.name}
          stackId="all"
          isAnimationActive={false}
          maxBarSize={48}
          shape={(bar: BarShapeProps) => (
            <Segment
              bar={bar}
              fill={buckets[bar.index]?.partial ? `url(#${id}-${number})` : each.color[scheme]}
              gap={AXIS_COLORS[scheme].background}
            />
          )}
        />
      ))}
    </BarChart>
  );
}

/** One segment, with a gap to the one above it where it is high enough. */
function Segment({ bar, fill, gap }: { bar: BarShapeProps; fill: string; gap: string }) {
  const { x, y, width, height } = bar;
  if (!(height > 0)) {
    return null;
  }
  return (
    <g>
      <rect x={x} y={y} width={width} height={height} fill={fill} />
      {height > 3 ? <rect x={x} y={y} width={width} height={1} fill={gap} /> : null}
    </g>
  );
}
