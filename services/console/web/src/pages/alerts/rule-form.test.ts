import { describe, expect, it } from "vitest";
import { conditionInWords, formatValue, type MetricView } from "./metrics";
import { EMPTY_RULE, formOfRule, readRule, withMetric, withUnusual } from "./rule-form";

const spend: MetricView = {
  metric: "spend",
  unit: "usd",
  compared: "at_least",
  needs_threshold: true,
  may_be_unusual: true,
  windows: ["month", "day", "hour"],
  scopes: ["team", "tag"],
  of_tenants: true,
  of_platform: false,
  can_be_previewed: true,
  may_disable_key: false,
};
const invalid: MetricView = {
  ...spend,
  metric: "key_invalid",
  unit: "none",
  compared: "happens",
  needs_threshold: false,
  may_be_unusual: false,
  windows: [],
  scopes: ["key"],
};
const filled = { ...EMPTY_RULE, name: " Spend ", threshold: "1,250.50" };

describe("a rule in a form", () => {
  it("becomes the body of the API", () => {
    expect(readRule({ ...filled, scopeField: "tag", scopeValue: "project=a=b" }, spend)).toEqual({
      body: {
        name: "Spend",
        metric: "spend",
        scope: { tag: { name: "project", value: "a=b" } },
        condition: { threshold: "1250.50", unusual: null },
        window: "month",
        severity: "warning",
        channels: null,
        enabled: true,
        cooldown_seconds: 900,
        disable_key: false,
      },
    });
  });

  it("says what is missing", () => {
    const wrong = {
      ...EMPTY_RULE,
      scopeField: "tag" as const,
      scopeValue: "project",
      cooldownMinutes: "1.5",
    };
    const read = readRule(wrong, spend);
    expect("errors" in read && Object.keys(read.errors).sort()).toEqual([
      "cooldownMinutes",
      "name",
      "scopeValue",
      "threshold",
    ]);
    expect(readRule({ ...filled, threshold: "1e9" }, spend)).toHaveProperty("errors.threshold");
    expect(readRule({ ...filled, threshold: "", unusual: "low" }, spend)).toHaveProperty("body");
  });

  it("leaves out what another metric does not have", () => {
    const form = withMetric({ ...filled, scopeField: "team", scopeValue: "blue" }, "key_invalid", invalid);
    expect(form).toMatchObject({ scopeField: "", scopeValue: "", window: "", threshold: "", unusual: "" });
    expect(readRule(form, invalid)).toHaveProperty("body.window", null);
    expect(withUnusual(filled, "high", spend).window).toBe("hour");
  });

  it("comes back from a saved rule", () => {
    const read = readRule(filled, spend);
    const rule = { ...("body" in read ? read.body : {}), tenant: "acme", rule_id: "alr_1", revision: 1 };
    const again = formOfRule(rule as Parameters<typeof formOfRule>[0]);
    expect(again).toMatchObject({
      name: "Spend",
      threshold: "1250.50",
      window: "month",
      cooldownMinutes: "15",
    });
  });
});

describe("a rule in words", () => {
  it("names figure, window, scope and condition", () => {
    const rule = {
      tenant: "acme",
      rule_id: "alr_1",
      revision: 1,
      name: "x",
      metric: "spend" as const,
      window: "month" as const,
      scope: { team: "research" },
      condition: { threshold: "250", unusual: null },
    };
    expect(conditionInWords(rule, spend, new Map())).toBe(
      "Spend in a calendar month of team research is at least $250.00",
    );
  });

  it("has each unit", () => {
    expect(formatValue("45", "percent")).toBe("45 %");
    expect(formatValue("1", "days")).toBe("1 day");
    expect(formatValue("12000", "requests")).toBe("12,000 requests");
    expect(formatValue(null, "usd")).toBe("–");
  });
});
