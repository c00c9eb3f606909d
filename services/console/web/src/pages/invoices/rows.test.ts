import { describe, expect, it } from "vitest";
import {
  accountRows,
  choicesOf,
  costText,
  monthName,
  reconciliationRows,
  type Statement,
  usageRows,
  valueName,
} from "./rows";

const TOKENS = {
  input: 10,
  cached_read: 0,
  cache_write: 0,
  cache_write_1h: 0,
  output: 5,
  reasoning: 0,
  audio: 0,
  image: 0,
  audio_output: 0,
  image_output: 0,
};
const FIGURES = {
  requests: 1,
  attempts: 1,
  completed: 1,
  failed: 0,
  cancelled: 0,
  indeterminate: 0,
  token_usage: TOKENS,
  total_tokens: 15,
  cost_usd: "0.000000000001",
  unpriced: 0,
  charge_micro_usd: 7,
  charged: 1,
  absorbed_micro_usd: 0,
  spend_micro_usd: 7,
  spend_unknown: 0,
};
const TEAM = { dimension: "team", kind: "value", value: "red" } as const;
const STATEMENT: Statement = {
  month: "2026-10",
  tz: "Europe/Berlin",
  since: "2026-09-30T22:00:00Z",
  until: "2026-10-31T23:00:00Z",
  state: "closed",
  tenant: "acme",
  tenant_name: "Acme",
  as_of: "2026-11-29T09:40:00Z",
  account: {
    opening_micro_usd: 10,
    closing_micro_usd: 3,
    sums: [{ kind: "charge", transfers: 2, amount_micro_usd: -7 }],
    entries: [],
    entries_left_out: 0,
  },
  total: FIGURES,
  own_keys: FIGURES,
  platform_keys: FIGURES,
  by: ["model", "team"],
  lines: [{ keys: [{ dimension: "model", kind: "value", value: "m" }, TEAM], figures: FIGURES }],
  lines_left_out: 0,
  breakdowns: [
    { by: "team", rows: [{ keys: [TEAM], figures: FIGURES }], rest_count: 3, rest: FIGURES },
    { by: "tag", tag: "project", rows: [], rest_count: 0 },
  ],
  reconciliation: {
    usage_micro_usd: 9,
    lines: [{ kind: "uncollected", attempts: 1, amount_micro_usd: -2 }],
    posted_micro_usd: 7,
  },
  fingerprint: "",
};

describe("a statement as rows", () => {
  it("leads from the opening to the closing balance", () => {
    expect(accountRows(STATEMENT).map((row) => row.amount)).toEqual(["$0.000010", "−$0.000007", "$0.000003"]);
  });

  it("leads from usage to posted charges", () => {
    const rows = reconciliationRows(STATEMENT);
    expect(rows.map((row) => [row.count, row.amount])).toEqual([
      [null, "$0.000009"],
      [1, "−$0.000002"],
      [null, "$0.000007"],
    ]);
  });

  it("offers the lines and every breakdown", () => {
    expect(choicesOf(STATEMENT).map((choice) => choice.value)).toEqual(["lines", "team", "tag:project"]);
  });

  it("ends each breakdown with the rest and the total", () => {
    expect(usageRows(STATEMENT, "team").map((row) => row.name)).toEqual(["red", "3 others", "Total"]);
    expect(usageRows(STATEMENT, "lines").map((row) => row.name)).toEqual(["m · red", "Total"]);
    expect(usageRows(STATEMENT, "tag:project").map((row) => row.name)).toEqual(["Total"]);
  });

  it("shows the lines for a breakdown that the month does not have", () => {
    expect(usageRows(STATEMENT, "tag:gone")).toEqual(usageRows(STATEMENT, "lines"));
  });

  it("names values and months", () => {
    expect(valueName({ dimension: "team", kind: "none" })).toBe("Without a team");
    expect(valueName({ dimension: "key_source", kind: "value", value: "byok" })).toBe("Your keys");
    expect(valueName({ dimension: "model", kind: "other" })).toBe("Others");
    expect(monthName("2026-10")).toBe("October 2026");
  });

  it("never rounds a cost", () => {
    expect(costText(FIGURES)).toBe("$0.000000000001");
    expect(costText({ ...FIGURES, unpriced: 2 })).toBe("$0.000000000001 +");
    expect(costText({ ...FIGURES, cost_usd: null })).toBe("unknown");
  });
});
