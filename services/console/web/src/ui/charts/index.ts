/**
 * The charts of the console: one form for each kind of question.
 *
 * | question                                   | form                            |
 * | ------------------------------------------ | ------------------------------- |
 * | How much per day, by what?                 | `StackedBars`                   |
 * | How fast, how reliable over time?          | `Lines`                         |
 * | Is it up, when was it not?                 | `StatusStrip`                   |
 * | What happened in this request?             | `Waterfall`                     |
 * | What share?                                | `SegmentedBar`                  |
 * | Where is it heading?                       | `Sparkline`                     |
 * | Compare options?                           | `BarCell` in a table            |
 *
 * `StackedBars` and `Lines` load recharts when they are first shown; the others need no library. `assignColors` gives each name
 * of a chart its colour.
 */

export {
  assignColors,
  type ColorPair,
  PALETTE,
  REST_COLOR,
  STATUS_FILLS,
  type StatusFill,
} from "./colors";
export type { ChartBucket, ChartSeries, ChartUnit } from "./plot";
export { largestSeries, MOST_SERIES } from "./prepare";
export { BarCell, type Segment, SegmentedBar, Sparkline, StatusStrip, type StripCell } from "./small-charts";
export { Lines, StackedBars } from "./time-charts";
export { COUNT, DURATION, MONEY } from "./units";
export { Waterfall, type WaterfallRow } from "./waterfall";
