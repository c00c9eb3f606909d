import { describe, expect, it } from "vitest";
import { planOf, shareInWords, stepInWords } from "./operations";

const RULES = [
  { name: "beta", when: { operation: ["sum"], tag: ["beta"] }, chain: [{ model: "x" }] },
  { name: "off", enabled: false, when: { operation: ["sum"] }, chain: [{ model: "y" }] },
  {
    name: "sum",
    when: { operation: ["sum", "code"] },
    chain: [{ model: "a" }, { power_level: "eco" as const }],
  },
  { name: "kinds", when: { kind: ["embedding" as const] }, chain: [{ model: "e" }] },
];

describe("what runs for an operation", () => {
  it("is decided by the first rule that always matches", () => {
    expect(planOf("sum", RULES, [{ name: "fallback_models", value: ["f"] }])).toEqual({
      operation: "sum",
      mode: null,
      ownMode: false,
      first: "a",
      after: ["level eco", "f"],
      rule: "sum",
      sometimes: ["beta"],
    });
  });

  it("is the model that is asked for without a rule", () => {
    const effective = [
      { name: "mode", value: "platform" },
      { name: "mode_by_operation.research", value: "byok" },
      { name: "model_by_operation.research", value: "r" },
      { name: "default_model", value: "d" },
    ];
    const plan = planOf("research", RULES, effective);
    expect(plan).toMatchObject({ mode: "byok", ownMode: true, rule: null, sometimes: ["kinds"] });
    expect(plan.first).toBe("the model that is asked for; default is r");
    expect(planOf("", RULES, effective)).toMatchObject({ mode: "platform", ownMode: false });
  });

  it("has no fallback where the rule ends with its chain", () => {
    const rules = [{ name: "rest", default: true, fallback: false, chain: [{ model: "a" }] }];
    expect(planOf("x", rules, [{ name: "fallback_models", value: ["f"] }]).after).toEqual([]);
  });
});

describe("steps in words", () => {
  it("name what a request goes to", () => {
    expect(stepInWords({ model: "a", provider: "azure" })).toBe("a at azure");
    expect(stepInWords({ chain: "code" })).toBe("chain code");
    const split = [
      { model: "a", weight: 90 },
      { model: "b", weight: 10 },
    ];
    expect(stepInWords({ split })).toBe("90 % a / 10 % b");
    expect(shareInWords([{ model: "a", weight: 0 }], 0)).toBe("0 %");
    expect(
      shareInWords(
        [
          { model: "a", weight: 1 },
          { model: "b", weight: 999 },
        ],
        0,
      ),
    ).toBe("<1 %");
  });
});
