import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { creditsToMicroUsd, formatCredits } from "@/format/credits";
import {
  budgetAttention,
  creditsSentence,
  firstSteps,
  healthSentence,
  keyAttention,
  outageAttention,
  spendSentence,
  todayOf,
} from "./state";

type Figures = Schemas["UsageFigures"];

const point = (spend: number): Figures => ({
  absorbed_micro_usd: 0,
  attempts: spend > 0 ? 1 : 0,
  cancelled: 0,
  charge_micro_usd: 0,
  charged: 0,
  completed: 0,
  failed: 0,
  indeterminate: 0,
  requests: spend > 0 ? 1 : 0,
  spend_micro_usd: spend,
  spend_unknown: 0,
  token_usage: {},
  total_tokens: 10,
  unpriced: 0,
});

/** Hours from a moment on until another, with what each has cost. */
function hourly(from: string, until: string, spendAt: (hour: Date) => number) {
  const buckets: { start: string; end: string }[] = [];
  const points: Figures[] = [];
  for (let at = Date.parse(from); at < Date.parse(until); at += 3_600_000) {
    buckets.push({ start: new Date(at).toISOString(), end: new Date(at + 3_600_000).toISOString() });
    points.push(point(spendAt(new Date(at))));
  }
  return { buckets, lines: [{ points, total: point(0) }], as_of: until };
}

describe("today", () => {
  it("is compared with the same hours of the same weekdays before", () => {
    // Mondays in UTC; each hour costs 1, today's 2; Tuesdays to Sundays would change the result if they were counted.
    const series = hourly("2026-11-02T00:00:00Z", "2026-11-30T10:30:00Z", (hour) =>
      hour.getUTCDay() !== 1 ? 500 : hour >= new Date("2026-11-30T00:00:00Z") ? 2 : 1,
    );
    const today = todayOf({ ...series, tz: "UTC" });
    expect(today).toMatchObject({
      spend: 22,
      requests: 11,
      weekday: "Monday",
      usual: { spend: 11, requests: 11 },
    });
    expect(today.hours).toHaveLength(11);
  });

  it("is the day of the billing zone", () => {
    const series = hourly("2026-11-02T00:00:00Z", "2026-11-30T20:00:00Z", () => 1);
    // In Auckland it is already Tuesday, 09:00.
    expect(todayOf({ ...series, tz: "Pacific/Auckland" })).toMatchObject({ weekday: "Tuesday", spend: 9 });
  });

  it("has no usual day without two weeks of traffic", () => {
    const series = hourly("2026-11-02T00:00:00Z", "2026-11-30T10:00:00Z", (hour) =>
      hour >= new Date("2026-11-23T00:00:00Z") ? 1 : 0,
    );
    expect(todayOf({ ...series, tz: "UTC" }).usual).toBeNull();
  });

  it("is put into words", () => {
    const today = { spend: 41_200_000, requests: 1, tokens: 1, weekday: "Tuesday", hours: [] };
    const usual = (spend: number) => ({ ...today, usual: { spend, requests: 1, tokens: 1 } });
    expect(spendSentence(usual(43_830_000))).toBe("$41.20 today, 6 % below a usual Tuesday by this time.");
    expect(spendSentence(usual(41_300_000))).toBe("$41.20 today, like a usual Tuesday by this time.");
    expect(spendSentence(usual(20_600_000))).toBe("$41.20 today, 100 % above a usual Tuesday by this time.");
    expect(spendSentence({ ...today, usual: null })).toBe("$41.20 today.");
  });
});

describe("the state in a sentence", () => {
  it("says who is in trouble", () => {
    const of = (...conditions: ("healthy" | "degraded" | "down" | "unused")[]) =>
      conditions.map((condition, index) => ({ provider: `P${index}`, condition }));
    expect(healthSentence(of("healthy", "healthy", "unused"))).toBe("All 2 providers are healthy.");
    expect(healthSentence(of("down", "healthy", "degraded"))).toBe(
      "2 of 3 providers in trouble: P0 is down; P2 degraded.",
    );
    expect(healthSentence(of("unused"))).toBe("No provider has been called lately.");
  });

  it("says how long credits last, if that is known", () => {
    expect(creditsSentence({ state: "ok", days_left: 14 })).toBe("Credits last about 14 days.");
    expect(creditsSentence({ state: "low", days_left: 0 })).toBe("Credits last less than a day.");
    expect(creditsSentence({ state: "none", days_left: null })).toBe("");
    expect(creditsSentence({ state: "empty", days_left: null })).toBe("Credits are used up.");
    expect(formatCredits("49750.500")).toBe("49,750.5");
    expect(formatCredits("-1234567")).toBe("-1,234,567");
    expect(creditsToMicroUsd("49750.5")).toBe(49_750_500n);
    expect(creditsToMicroUsd("-0.001")).toBe(-1n);
    expect(creditsToMicroUsd("12.3450")).toBe(12_345n);
    expect(() => creditsToMicroUsd("12.3456")).toThrow(RangeError);
  });
});

describe("what needs somebody", () => {
  it("are keys that do not work or will not for long", () => {
    const summary = {
      by_provider: [],
      by_status: { valid: 3, invalid: 1, expired: 1 },
      credit_low: 0,
      expiring_soon: 1,
      keys: 5,
      last_used_at: null,
      over_limit: 0,
      rotation_due: 0,
      spent_usd: null,
      unpriced: 0,
      usable: 3,
    };
    expect(keyAttention(summary).map((each) => each.text)).toEqual([
      "2 provider keys do not work.",
      "1 provider key expires within 14 days.",
    ]);
    expect(keyAttention({ ...summary, by_status: {}, expiring_soon: 0 })).toEqual([]);
  });

  it("are outages that go on, not those that have ended", () => {
    const outage: Schemas["Outage"] = {
      affected_requests: 12,
      began_at: "2026-11-30T10:00:00Z",
      ended_at: null,
      failed_attempts: 3,
      key_class: "own",
      models: [],
      provider: "openai",
      reasons: [],
      refused: 0,
      served_elsewhere: 12,
    };
    const entries = outageAttention(
      [outage, { ...outage, ended_at: "2026-11-30T11:00:00Z" }],
      () => "OpenAI",
    );
    expect(entries.map((each) => each.text)).toEqual([
      "OpenAI has an outage. 12 requests affected, 12 of them served elsewhere.",
    ]);
  });

  it("are budgets that are used up, if they are in force", () => {
    const state: Schemas["BudgetState"] = {
      account: "a",
      attempts: 1,
      budget: {
        budget_id: "bud_1",
        created_at: "2026-11-01T00:00:00Z",
        limit_micro_usd: 5_000_000,
        name: "Research",
        revision: 1,
        scope: "team",
        tenant: "acme",
        window: { calendar: "month" },
      },
      exhausted: false,
      held_micro_usd: 0,
      left_micro_usd: 500_000,
      percent: 90,
      spent_micro_usd: 4_500_000,
      thresholds_passed: [80],
      unpriced: 0,
      window_start: "2026-11-01T00:00:00Z",
    };
    expect(budgetAttention([state]).map((each) => each.text)).toEqual(["Research is at 90 % of $5.00."]);
    const off = { ...state, budget: { ...state.budget, enabled: false } };
    expect(budgetAttention([off, { ...state, thresholds_passed: [] }])).toEqual([]);
    const soft = { ...state, exhausted: true, budget: { ...state.budget, hard: false } };
    expect(budgetAttention([soft])[0]?.text).toBe("Research is used up ($5.00).");
  });
});

describe("the first steps", () => {
  it("are ticked by what there is", () => {
    const done = (progress: Parameters<typeof firstSteps>[0]) =>
      firstSteps(progress)
        .filter((step) => step.done)
        .map((step) => step.id);
    expect(done({ keys: 0, platform: false, tokens: 0, requests: 0 })).toEqual([]);
    expect(done({ keys: 0, platform: true, tokens: 1, requests: 0 })).toEqual(["key", "token"]);
    expect(done({ keys: 1, platform: false, tokens: 1, requests: 2 })).toEqual(["key", "token", "request"]);
  });
});
