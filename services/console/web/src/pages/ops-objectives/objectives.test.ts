import { expect, it } from "vitest";
import {
  budgetPercent,
  burnHeader,
  burnRate,
  exactPercent,
  levelState,
  SHOWN_MINUTES,
  summarize,
} from "./objectives";

it.each([
  [{ met: null, alert: null }, "neutral", "No events"],
  [{}, "neutral", "No events"],
  [{ met: true, alert: null }, "ok", "Met"],
  [{ met: false, alert: null }, "error", "Not met"],
  [{ met: true, alert: "ticket" as const }, "warning", "Act soon"],
  [{ met: true, alert: "page" as const }, "error", "Act now"],
  [{ met: false, alert: "page" as const }, "error", "Act now"],
])("an objective with %j is %s: %s", (level, kind, words) => {
  expect(levelState(level)).toEqual({ kind, words });
});

it.each([
  [1_000_000, "100.0 %"],
  [999_000, "99.9 %"],
  [999_550, "99.955 %"],
  [999_999, "99.9999 %"],
  [950_000, "95.0 %"],
  [900_100, "90.01 %"],
  [0, "0.0 %"],
])("%i of a million are %s, never rounded", (ppm, shown) => {
  expect(exactPercent(ppm)).toBe(shown);
});

it("shows a budget that is overspent as negative", () => {
  expect([1000, 553, 0, -2500].map(budgetPercent)).toEqual(["100.0 %", "55.3 %", "0.0 %", "-250.0 %"]);
});

it("tells a window without events from one in which nothing failed", () => {
  const windows = [
    { minutes: 60, good: 0, bad: 0, burn_permille: 0 },
    { minutes: 360, good: 12, bad: 0, burn_permille: 0 },
    { minutes: 1440, good: 982, bad: 18, burn_permille: 18_000 },
  ];
  expect(SHOWN_MINUTES.map((minutes) => burnRate(windows, minutes))).toEqual(["–", "0.0", "18.0", "–"]);
  expect(SHOWN_MINUTES.map(burnHeader)).toEqual(["Burn 1 h", "Burn 6 h", "Burn 1 d", "Burn 3 d"]);
});

it.each([
  [[], "No objective was measured in this period."],
  [[{ met: null }], "No objective was measured in this period."],
  [[{ met: true }, { met: null }], "Every measured objective is met."],
  [[{ met: true }, { met: false }], "1 of 2 measured objectives met."],
  [
    [{ met: true, alert: "page" as const }, { met: true }],
    "Every measured objective is met; the error budget of 1 is spent too fast.",
  ],
])("%j is summed up", (levels, sentence) => {
  expect(summarize(levels)).toBe(sentence);
});
