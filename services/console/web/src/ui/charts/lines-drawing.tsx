import { type DotItemDotProps, Line, LineChart } from "recharts";
import { axes } from "./drawing-parts";
import { type DrawingProps, INSET_RIGHT, INSET_TOP } from "./plot";
import { isIsolated } from "./prepare";

const DASHES = ["", "6 3", "2 3"] as const;

/** The lines; loaded when a page shows some, since recharts is large. */
export default function LinesDrawing({ buckets, series, ticks, unit, height, scheme }: DrawingProps) {
  const rows = buckets.map((_, index) => ({
    position: index,
    ...Object.fromEntries(series.map((each, number) => [`s${number}`, each.values[index] ?? null])),
  }));
  return (
    <LineChart
      responsive
      data={rows}
      style={{ width: "100%", height }}
      margin={{ top: INSET_TOP, right: INSET_RIGHT, bottom: 0, left: 0 }}
      accessibilityLayer={false}
    >
      {axes({ buckets, ticks, unit, scheme })}
      {series.map((each, number) => (
        <Line
          key={each.name}
          dataKey={`s${number}`}
          name={each.name}
          type="linear"
          connectNulls={false}
          stroke={each.color[scheme]}
          strokeWidth={2}
          strokeDasharray={DASHES[number % DASHES.length]}
          isAnimationActive={false}
          activeDot={false}
          dot={({ cx, cy, index, key }: DotItemDotProps) =>
            isIsolated(each.values, index) ? (
              <circle key={key} cx={cx} cy={cy} r={3} fill={each.color[scheme]} />
            ) : (
              <g key={key} />
            )
          }
        />
      ))}
    </LineChart>
  );
}
