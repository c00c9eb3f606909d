/** The units of charts: how their numbers are written. Pure. */

import { formatDuration } from "@/format/duration";
import { formatTotal } from "@/format/money";
import { formatCompact, formatCount } from "@/format/numbers";
import type { ChartUnit } from "./plot";
import { durationTick, moneyTick } from "./prepare";

/** Integers of micro-dollars. */
export const MONEY: ChartUnit = {
  text: (micro) => formatTotal(Math.round(micro)),
  tick: moneyTick,
  smallestStep: 1,
};

export const COUNT: ChartUnit = {
  text: (count) => formatCount(count),
  tick: (count) => formatCompact(count),
  smallestStep: 1,
};

/** Milliseconds. */
export const DURATION: ChartUnit = { text: formatDuration, tick: durationTick, smallestStep: 1 };
