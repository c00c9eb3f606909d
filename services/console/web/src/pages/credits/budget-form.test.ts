import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import {
  type Budget,
  budgetTitle,
  dollarsText,
  EMPTY_FORM,
  formOf,
  readForm,
  readThresholds,
  removalText,
  windowText,
} from "./budget-form";

const budget: Budget = {
  budget_id: "bud_1",
  created_at: "2026-11-01T00:00:00Z",
  hard: true,
  enabled: true,
  limit_micro_usd: 12_500_000,
  name: null,
  revision: 3,
  scope: "team",
  tenant: "acme",
  thresholds: [80, 100],
  value: "research",
  window: { calendar: "month", time_zone: "Europe/Berlin" },
};

describe("a budget's form", () => {
  it("becomes a body with an exact amount", () => {
    expect(readForm({ ...EMPTY_FORM, name: " Total ", limit: "$1,250.10" }, "Europe/Berlin")).toEqual({
      body: {
        name: "Total",
        scope: "tenant",
        value: null,
        limit_usd: "1250.1",
        window: { calendar: "month", time_zone: "Europe/Berlin" },
        hard: true,
        enabled: true,
        thresholds: [80, 100],
      },
    });
    const rolling = readForm(
      { ...EMPTY_FORM, scope: "team", value: "red", limit: "5", window: "24h" },
      "UTC",
    );
    expect(rolling).toMatchObject({ body: { value: "red", window: { rolling_hours: 24 } } });
  });

  it.each([
    [{ limit: "" }, "limit"],
    [{ limit: "0" }, "limit"],
    [{ limit: "-5" }, "limit"],
    [{ limit: "1e3" }, "limit"],
    [{ limit: "5", thresholds: "80, much" }, "thresholds"],
    [{ limit: "5", thresholds: "120" }, "thresholds"],
    [{ limit: "5", scope: "team" as const, value: " " }, "value"],
  ])("is refused as %j", (patch, field) => {
    const read = readForm({ ...EMPTY_FORM, ...patch }, "UTC");
    expect("errors" in read ? Object.keys(read.errors) : []).toEqual([field]);
  });

  it("shows a saved budget and gives it back unchanged", () => {
    const read = readForm(formOf(budget), "UTC");
    expect(read).toMatchObject({
      body: { limit_usd: "12.5", thresholds: [80, 100], scope: "team", value: "research" },
    });
    expect(dollarsText(1n)).toBe("0.000001");
    expect(dollarsText(1_000_000n)).toBe("1");
  });

  it("reads percents", () => {
    expect(readThresholds("100, 80 80%")).toEqual([80, 100]);
    expect(readThresholds("")).toEqual([]);
    expect(readThresholds("0")).toBeNull();
  });

  it("names what it counts and when", () => {
    expect(budgetTitle(budget, (_, value) => value)).toBe("Team research");
    expect(budgetTitle({ ...budget, scope: "tenant", value: null }, () => "")).toBe("Everything");
    expect(windowText(budget.window)).toBe("Each month, Europe/Berlin");
    expect(windowText({ rolling_hours: 24 })).toBe("The last 24 hours");
    expect(windowText({ rolling_hours: 168 })).toBe("The last 7 days");
  });

  it("says what its removal means", () => {
    const state: Schemas["BudgetState"] = {
      account: "a",
      attempts: 1,
      budget,
      exhausted: false,
      held_micro_usd: 0,
      left_micro_usd: 1,
      percent: 36,
      spent_micro_usd: 4_500_000,
      thresholds_passed: [],
      unpriced: 0,
      window_start: "2026-11-01T00:00:00Z",
    };
    expect(removalText(state)).toContain("$4.50 of $12.50");
    expect(removalText(state)).toContain("will not be refused any more");
    expect(removalText({ ...state, budget: { ...budget, hard: false } })).toContain("no request is affected");
  });
});
