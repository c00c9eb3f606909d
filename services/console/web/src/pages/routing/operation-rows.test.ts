import { describe, expect, it } from "vitest";
import { constraintsOf, operationRows } from "./operation-rows";

const AMOUNTS = { spend_micro_usd: 1_200_000, charge_micro_usd: 0, cost_micro_usd: 0 };
const COMPARISON = {
  current: "balanced" as const,
  operations: [
    { operation: "sum", requests: 10, requests_per_month: 300, sampled: 10 },
    { operation: null, requests: 2, requests_per_month: 60, sampled: 2 },
    { operation: null, rest: true, requests: 1, requests_per_month: 30, sampled: 0 },
  ],
  levels: [
    { level: "eco" as const, possible: true, amounts: AMOUNTS, difference_micro_usd: 0 },
    {
      level: "balanced" as const,
      possible: true,
      amounts: AMOUNTS,
      difference_micro_usd: 0,
      operations: [
        {
          operation: "sum",
          amounts: AMOUNTS,
          models: [{ model: "openai/gpt-5", permille: 1000 }],
          p95_ms: 900,
        },
        {
          operation: null,
          amounts: { ...AMOUNTS, spend_micro_usd: 5 },
          refused_permille: 500,
          reason: "no key",
        },
      ],
    },
  ],
};

describe("the rows of operations", () => {
  it("have what the traffic would get at the level in force", () => {
    const rows = operationRows(COMPARISON, {
      rules: [{ name: "r", when: { operation: ["code"] }, chain: [{ model: "a" }] }],
      effective: [{ name: "mode_by_operation.research", value: "byok" }],
    });
    expect(rows.map(({ plan, rest }) => [plan.operation, rest])).toEqual([
      ["sum", false],
      ["", false],
      ["", true],
      ["code", false],
      ["research", false],
    ]);
    expect(rows[0]).toMatchObject({ requestsPerMonth: 300, spendMicroUsd: 1_200_000, p95Ms: 900 });
    expect(rows[1]).toMatchObject({ spendMicroUsd: 5, refusedPermille: 500, reason: "no key" });
    expect(rows[2]).toMatchObject({ spendMicroUsd: null, models: [] });
    expect(rows[3]?.plan.first).toBe("a");
    expect(rows[4]?.plan.mode).toBe("byok");
  });

  it("are there without the comparison", () => {
    expect(operationRows(undefined, { rules: [], effective: [] })).toEqual([]);
  });
});

describe("constraints", () => {
  it("are in words", () => {
    expect(
      constraintsOf([
        { name: "eu_only", value: true },
        { name: "allowed_regions", value: ["eu"] },
        { name: "auto_provider_switch", value: false },
        { name: "max_tokens_per_request", value: 2000 },
      ]),
    ).toEqual(["European Union only", "regions eu", "stays at its first provider", "at most 2,000 tokens"]);
    expect(constraintsOf([{ name: "eu_only", value: false }])).toEqual([]);
  });
});
