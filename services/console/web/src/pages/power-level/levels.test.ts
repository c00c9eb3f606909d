import { describe, expect, it } from "vitest";
import {
  atPosition,
  changedOperations,
  differenceOf,
  modelsInWords,
  percent,
  perMonth,
  positionOf,
  prefillOf,
} from "./levels";

const amounts = (spend: number) => ({ spend_micro_usd: spend, charge_micro_usd: 0, cost_micro_usd: 0 });
const eco = {
  level: "eco" as const,
  possible: true,
  amounts: amounts(1_000_000),
  difference_micro_usd: -2_000_000,
  operations: [
    { operation: "sum", amounts: amounts(1), models: [{ model: "groq/a", permille: 1000 }] },
    { operation: null, amounts: amounts(1), models: [{ model: "openai/x", permille: 1000 }] },
  ],
};
const balanced = {
  ...eco,
  level: "balanced" as const,
  amounts: amounts(3_000_000),
  operations: [
    {
      operation: "sum",
      amounts: amounts(1),
      models: [{ model: "openai/b", permille: 900 }],
      refused_permille: 100,
    },
    { operation: null, amounts: amounts(1), models: [{ model: "openai/x", permille: 1000 }] },
  ],
};
const COMPARISON = {
  tenant: "acme",
  current: "balanced" as const,
  since: "",
  until: "",
  days_seen: 30,
  requests: 900,
  requests_per_month: 900,
  sampled: 900,
  operations: [
    {
      operation: "sum",
      requests: 900,
      requests_per_month: 900,
      sampled: 900,
      input_tokens: { median: 800, p90: 4000 },
      output_tokens: { median: 0, p90: 700 },
    },
    { operation: null, requests: 1, requests_per_month: 1, sampled: 0 },
  ],
  levels: [eco, balanced],
};

describe("levels", () => {
  it("differ in money and models", () => {
    expect(differenceOf(COMPARISON, "eco", "balanced")).toBe(-2_000_000);
    expect(differenceOf(COMPARISON, "precision", "balanced")).toBeNull();
    expect(changedOperations(balanced, eco)).toEqual([
      { name: "sum", before: "openai/b 90 %, 10 % refused", after: "groq/a" },
    ]);
  });

  it("say which models answer", () => {
    const models = ["a", "b", "c", "d"].map((model) => ({ model, permille: 250 }));
    expect(modelsInWords({ amounts: amounts(0), models })).toBe("a 25 %, b 25 %, c 25 %, 1 more");
    expect(modelsInWords({ amounts: amounts(0) })).toBe("no traffic sampled");
    expect([percent(1), percent(999), percent(1000), percent(0)]).toEqual(["<1 %", ">99 %", "100 %", "0 %"]);
  });
});

describe("a month", () => {
  it.each([
    ["0.0000039", 1000, 117_000n],
    ["0.00000000001", 1, 0n],
    ["0.000000016666667", 1, 1n],
    ["12.5", 3, 1_125_000_000n],
    ["1E-7", 10, 30n],
    ["0", 10, 0n],
  ])("of %s dollars %i times a day is %s micro-dollars", (dollars, perDay, micro) => {
    expect(perMonth(dollars, perDay)).toBe(micro);
  });

  it("is of no other text", () => {
    expect(() => perMonth("-1", 1)).toThrow(RangeError);
    expect(() => perMonth("NaN", 1)).toThrow(RangeError);
  });
});

describe("the estimator", () => {
  it("begins with the own traffic", () => {
    expect(prefillOf(COMPARISON, "operation sum", "median")).toEqual({
      requestsPerDay: 30,
      input: 800,
      output: 1,
    });
    expect(prefillOf(COMPARISON, "operation sum", "p90")).toEqual({
      requestsPerDay: 30,
      input: 4000,
      output: 700,
    });
    expect(prefillOf(COMPARISON, "operation ", "median")).toBeNull();
  });

  it("has sliders from the least to the most", () => {
    expect(atPosition(0, 1, 1_000_000)).toBe(1);
    expect(atPosition(100, 1, 1_000_000)).toBe(1_000_000);
    for (const value of [1, 30, 800, 99_000]) {
      expect(
        Math.abs(atPosition(positionOf(value, 1, 1_000_000), 1, 1_000_000) - value) / value,
      ).toBeLessThan(0.1);
    }
  });
});
