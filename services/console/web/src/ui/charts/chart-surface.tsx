import { Text } from "@mantine/core";
import { type KeyboardEvent, type PointerEvent, type ReactNode, useState } from "react";
import { moveTo, positionAt } from "./prepare";

/** What is read at one position of a chart. */
export interface Reading {
  readonly title: string;
  readonly lines: readonly { readonly name: string; readonly text: string; readonly color?: string }[];
}

interface ChartSurfaceProps {
  /** The name of the chart for people who do not see it. */
  label: string;
  /** How many positions there are from left to right. */
  count: number;
  /** Where the plot begins and ends, in pixels from the left and right edges. */
  insetLeft?: number;
  insetRight?: number;
  height: number;
  readAt: (index: number) => Reading;
  /** What a click, or Enter, at a position does; and in words, for a hint: "open its requests". */
  onSelect?: ((index: number) => void) | undefined;
  selectHint?: string | undefined;
  children: ReactNode;
}

/** Make a picture of data readable by pointer and keyboard: arrows move between positions, whose values are announced. */
export function ChartSurface(props: ChartSurfaceProps) {
  const {
    label,
    count,
    insetLeft = 0,
    insetRight = 0,
    height,
    readAt,
    onSelect,
    selectHint,
    children,
  } = props;
  const [at, setAt] = useState<number | null>(null);
  const [byKeyboard, setByKeyboard] = useState(false);
  const active = at !== null && at < count ? at : null;
  const reading = active === null ? null : readAt(active);

  const onKeyDown = (event: KeyboardEvent) => {
    if ((event.key === "Enter" || event.key === " ") && active !== null && onSelect) {
      event.preventDefault();
      onSelect(active);
      return;
    }
    const next = moveTo(event.key, active, count);
    if (next !== undefined && count > 0) {
      event.preventDefault();
      setByKeyboard(true);
      setAt(next);
    }
  };
  const under = (event: PointerEvent) => {
    const box = event.currentTarget.getBoundingClientRect();
    return positionAt(event.clientX - box.left, box.width, insetLeft, insetRight, count);
  };
  const onPointerMove = (event: PointerEvent) => {
    setByKeyboard(false);
    setAt(under(event));
  };
  const hint = onSelect && selectHint ? ` Enter: ${selectHint}.` : "";
  return (
    <div
      className="chart"
      role="application"
      aria-roledescription="chart"
      aria-label={`${label}. Arrow keys read the values.${hint}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: arrow keys read the values
      tabIndex={0}
      onKeyDown={onKeyDown}
      onPointerMove={onPointerMove}
      onPointerLeave={() => setAt(null)}
      onBlur={() => setAt(null)}
      onClick={() => (active !== null && !byKeyboard ? onSelect?.(active) : undefined)}
      data-selectable={onSelect ? true : undefined}
      style={{ height }}
    >
      <div className="chart-plot" aria-hidden>
        {children}
      </div>
      {active === null ? null : (
        <div className="chart-overlay" aria-hidden style={{ left: insetLeft, right: insetRight }}>
          <div
            className="chart-position"
            style={{ left: `${(active / count) * 100}%`, width: `${100 / count}%` }}
          />
        </div>
      )}
      {reading === null || active === null ? null : (
        <ReadingBox reading={reading} leftHalf={active < count / 2} hint={hint.trim()} />
      )}
      <div className="chart-live" aria-live="polite">
        {reading !== null && byKeyboard
          ? `${reading.title}: ${reading.lines.map((line) => `${line.name} ${line.text}`).join(", ")}`
          : ""}
      </div>
    </div>
  );
}

function ReadingBox({ reading, leftHalf, hint }: { reading: Reading; leftHalf: boolean; hint: string }) {
  return (
    <div className="chart-reading" data-side={leftHalf ? "right" : "left"} aria-hidden>
      <Text size="xs" fw={700}>
        {reading.title}
      </Text>
      {reading.lines.map((line) => (
        <div key={line.name} className="chart-reading-line">
          <span className="chart-swatch" style={{ background: line.color ?? "transparent" }} />
          <span>{line.name}</span>
          <span className="tabular">{line.text}</span>
        </div>
      ))}
      {hint ? (
        <Text size="xs" c="dimmed">
          {hint.replace("Enter:", "Click or Enter:")}
        </Text>
      ) : null}
    </div>
  );
}
