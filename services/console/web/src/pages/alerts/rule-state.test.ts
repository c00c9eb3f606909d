import { describe, expect, it } from "vitest";
import { type Status, stateInWords, whyFixed } from "./rule-state";

const watching: Status = {
  rule_id: "alr_1",
  tenant: "acme",
  name: "Research",
  is_default: false,
  state: "active",
  revision: 1,
  open_alerts: 0,
  missing: [],
  rule: { tenant: "acme", rule_id: "alr_1", name: "Research", metric: "spend", revision: 1 },
};
const team = { field: "team" as const, value: "research", reason: "there is no team research (any more)" };

describe("the state of a rule", () => {
  it.each([
    [watching, "ok", "Watching"],
    [{ ...watching, open_alerts: 1 }, "warning", "Fired"],
    [{ ...watching, open_alerts: 3 }, "warning", "Fired, 3 open"],
    [{ ...watching, state: "off" as const }, "neutral", "Off"],
    [{ ...watching, state: "off" as const, missing: [team] }, "neutral", "Off"],
    [{ ...watching, state: "broken" as const, missing: [team] }, "error", "Watches nothing"],
    [{ ...watching, state: "broken" as const }, "error", "Cannot fire"],
    [{ ...watching, state: "broken" as const, rule: null }, "error", "Unreadable"],
  ])("is said in words: %#", (status, kind, text) => {
    expect(stateInWords(status)).toEqual({ kind, text });
  });

  it("says whether the rule can be edited", () => {
    expect(whyFixed(watching)).toBeUndefined();
    expect(whyFixed({ ...watching, state: "broken" })).toBeUndefined();
    expect(whyFixed({ ...watching, missing: [team] })).toContain("does not exist");
    expect(whyFixed({ ...watching, rule: null })).toContain("cannot read");
  });
});
