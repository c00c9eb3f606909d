import { describe, expect, it } from "vitest";
import { euImpact, impactInWords } from "./impact";

const MODELS = [
  { id: "claude", eu: true },
  { id: "mistral", eu: true },
  { id: "gpt-5", eu: false },
  { id: "gpt-5", eu: false },
  { id: "split-home", eu: false },
  { id: "split-home", eu: true },
  { id: "auto", eu: false, virtual: true },
];

describe("European Union only", () => {
  it("counts each model once, inside if any offering is", () => {
    expect(euImpact(MODELS, [], [])).toEqual({ remaining: 3, total: 4, losses: [] });
    expect(impactInWords(euImpact(MODELS, [], []))).toBe(
      "3 of 4 models remain, and nothing that is set loses one.",
    );
  });

  it("names operations that lose a fallback or everything", () => {
    const rules = [
      { name: "a", when: { operation: ["sum"] }, chain: [{ model: "claude" }, { model: "gpt-5" }] },
      { name: "b", when: { operation: ["code", "review"] }, chain: [{ model: "gpt-5" }] },
      { name: "c", chain: [{ model: "gpt-5" }, { power_level: "eco" as const }], default: true },
      { name: "off", enabled: false, chain: [{ model: "gpt-5" }] },
    ];
    const impact = euImpact(MODELS, rules, []);
    expect(impact.losses.map(({ subject, kind, empty }) => [subject, kind, empty])).toEqual([
      ["code", "operation", true],
      ["review", "operation", true],
      ["sum", "operation", false],
      ["c", "rule", false],
    ]);
    expect(impactInWords(impact)).toBe(
      "3 of 4 models remain; 2 settings are left without a model, 2 lose a fallback.",
    );
  });

  it("reads splits and all preferences", () => {
    const split = {
      split: [
        { model: "gpt-5", weight: 1 },
        { model: "claude", weight: 1 },
      ],
    };
    const scopes = [
      { name: "", preferences: { default_model: "gpt-5", model_by_operation: { research: "gpt-5" } } },
      {
        name: "team support",
        preferences: { fallback_models: ["claude", "gpt-5"], preferred_models: ["claude"] },
      },
    ];
    const { losses } = euImpact(MODELS, [{ name: "canary", chain: [split] }], scopes);
    expect(losses.map(({ subject, empty }) => [subject, empty])).toEqual([
      ["research", true],
      ["Default model", true],
      ["Fallback models of team support", false],
      ["canary", false],
    ]);
  });

  it("says nothing of models that it does not know", () => {
    expect(euImpact(MODELS, [{ name: "a", chain: [{ model: "own-model" }] }], []).losses).toEqual([]);
  });
});
