import type { Schemas } from "@/api/client";
import { formatLongDuration } from "@/format/duration";
import { countOf } from "@/format/numbers";
import type { StatusKind } from "@/ui";

type Level = Schemas["ServiceLevel"];
type Burn = Schemas["WindowBurn"];

/** The lengths in minutes of the windows in which alerts look first; the shorter ones only end an alert. */
export const SHOWN_MINUTES = [60, 360, 1440, 4320] as const;

/** Return how an objective stands, in words: an alert comes first, as the period may still look well. */
export function levelState(level: Pick<Level, "alert" | "met">): { kind: StatusKind; words: string } {
  if (level.alert === "page") {
    return { kind: "error", words: "Act now" };
  }
  if (level.alert === "ticket") {
    return { kind: "warning", words: "Act soon" };
  }
  if (level.met === null || level.met === undefined) {
    return { kind: "neutral", words: "No events" };
  }
  return level.met ? { kind: "ok", words: "Met" } : { kind: "error", words: "Not met" };
}

/** Return a share of a million with as many digits as it needs, at least one: rounding would make 99.96 % of 99.955 %. */
export function exactPercent(ppm: number): string {
  const digits = String(ppm % 10_000)
    .padStart(4, "0")
    .replace(/0{1,3}$/, "");
  return `${Math.floor(ppm / 10_000)}.${digits} %`;
}

/** Return thousandths of an error budget as a percentage; negative if more was spent than there was. */
export function budgetPercent(permille: number): string {
  return `${(permille / 10).toFixed(1)} %`;
}

/** Return how fast the budget was spent in a window, 1.0 being exactly as fast as it allows; `–` without events. */
export function burnRate(windows: readonly Burn[], minutes: number): string {
  const window = windows.find((each) => each.minutes === minutes);
  return window === undefined || window.good + window.bad === 0
    ? "–"
    : (window.burn_permille / 1000).toFixed(1);
}

/** Return the header of a window's burn rate, such as `Burn 6 h`. */
export function burnHeader(minutes: number): string {
  return `Burn ${formatLongDuration(minutes * 60)}`;
}

/** Return one sentence about all objectives. */
export function summarize(levels: readonly Pick<Level, "alert" | "met">[]): string {
  const measured = levels.filter((level) => typeof level.met === "boolean");
  if (measured.length === 0) {
    return "No objective was measured in this period.";
  }
  const met = measured.filter((level) => level.met).length;
  const state =
    met === measured.length
      ? "Every measured objective is met"
      : `${met} of ${countOf(measured.length, "measured objective")} met`;
  const alerts = levels.filter((level) => level.alert !== null && level.alert !== undefined).length;
  return alerts === 0 ? `${state}.` : `${state}; the error budget of ${alerts} is spent too fast.`;
}
