import { useComputedColorScheme } from "@mantine/core";
import type { ColorPair } from "./colors";

interface LegendProps {
  entries: readonly { readonly name: string; readonly color: ColorPair }[];
  /** Whether some of the picture is hatched since it is not complete. */
  partial?: boolean;
}

/** Name the colours of a chart. */
export function Legend({ entries, partial = false }: LegendProps) {
  const scheme = useComputedColorScheme("light");
  return (
    <ul className="chart-legend">
      {entries.map(({ name, color }) => (
        <li key={name}>
          <span className="chart-swatch" style={{ background: color[scheme] }} />
          {name}
        </li>
      ))}
      {partial ? (
        <li>
          <span className="chart-swatch" data-hatched />
          so far
        </li>
      ) : null}
    </ul>
  );
}
