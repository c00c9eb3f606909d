import { describe, expect, it } from "vitest";
import {
  amountText,
  detailsOf,
  lastMonth,
  mistakesOf,
  type Reconciliation,
  type ReconciliationRow,
  reasonsOf,
  shownDifference,
  signedAmount,
  signedTokens,
  statedTokens,
  summaryOf,
} from "./reconciliation";

const row = (values: Partial<ReconciliationRow>): ReconciliationRow => ({
  attempts: 1,
  prompt_tokens: 10,
  completion_tokens: 5,
  ...values,
});
const report = (
  totals: Partial<Reconciliation["totals"]>,
  rows: ReconciliationRow[] = [],
): Reconciliation => ({
  reconciliation_id: "rcn_1",
  tenant: "acme",
  provider: "openai",
  stated_by: "csv",
  since: "2026-11-01",
  until: "2026-11-30",
  created_at: "2026-12-03T06:00:00Z",
  created_by: "billing",
  days_complete: true,
  totals: { tokens: 15, attempts: 1, unreported: 0, estimated: 0, unpriced: 0, ...totals },
  rows,
});

describe("amounts", () => {
  it("never shows what is unknown as nothing", () => {
    expect(amountText(null)).toBe("unknown");
    expect(signedAmount(undefined)).toBe("unknown");
    expect(amountText("0")).toContain("0");
  });

  it("has the sign of a difference", () => {
    expect(signedAmount("-1.5")).toBe(`−${amountText("1.5")}`);
    expect(signedAmount("1.5")).toBe(`+${amountText("1.5")}`);
    expect(signedTokens(-3)).toBe("−3");
    expect(signedTokens(null)).toBe("–");
  });

  it("adds up shown differences exactly", () => {
    const rows = ["0.1", "0.2", "-0.000000000001"].map((amount) => row({ cost_difference_usd: amount }));
    expect(shownDifference([...rows, row({})])).toBe("0.299999999999");
  });
});

describe("reports", () => {
  it.each([
    ["0", "The provider charges exactly what was recorded."],
    ["-2", "less than was recorded"],
    ["2.5", "more than was recorded"],
  ])("say in a sentence what a difference of %s means", (difference, text) => {
    expect(summaryOf(report({ cost_difference_usd: difference }))).toContain(text);
  });

  it("say it of tokens where no amount is known", () => {
    expect(summaryOf(report({ token_difference: 12 }))).toContain("+12 tokens");
    expect(summaryOf(report({}))).toContain("nothing to compare");
  });

  it("name each explanation once", () => {
    const explanation = { reason: "estimated", detail: "An estimate.", attempts: 1, tokens: 1 } as const;
    const rows = [row({ explanations: [explanation] }), row({ explanations: [explanation] })];
    expect(detailsOf(report({}, rows))).toEqual(["An estimate."]);
    expect(reasonsOf(rows[0] ?? row({}))).toEqual(["estimated usage"]);
  });

  it("tell stated tokens from none", () => {
    expect(statedTokens(row({}))).toBeNull();
    expect(statedTokens(row({ provider_prompt_tokens: 0 }))).toBe(0);
    expect(statedTokens(row({ provider_prompt_tokens: 2, provider_completion_tokens: 3 }))).toBe(5);
  });
});

describe("the form", () => {
  const given = {
    provider: "openai",
    since: "2026-11-01",
    until: "2026-11-30",
    way: "api",
    csv: "",
    total: "",
  } as const;

  it("begins with the month before", () => {
    expect(lastMonth("2027-01-31")).toEqual({ since: "2026-12-01", until: "2026-12-31" });
    expect(lastMonth("2028-03-01")).toEqual({ since: "2028-02-01", until: "2028-02-29" });
  });

  it.each([
    [{}, []],
    [{ provider: "" }, ["provider"]],
    [{ provider: "mistral" }, ["way"]],
    [{ provider: "mistral", way: "total", total: "$12.50" }, []],
    [{ until: "2026-10-30" }, ["until"]],
    [{ way: "csv" }, ["csv"]],
    [{ way: "csv", csv: "x".repeat(200_001) }, ["csv"]],
    [{ way: "csv", csv: "date,cost\n2026-11-02,1" }, []],
    [{ way: "total", total: "1,50" }, ["total"]],
    [{ way: "total", total: "-1" }, ["total"]],
  ] as const)("finds what is wrong with %j", (changes, fields) => {
    expect(Object.keys(mistakesOf({ ...given, ...changes }))).toEqual(fields);
  });
});
