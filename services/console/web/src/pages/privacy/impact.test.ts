import { describe, expect, it } from "vitest";
import { affectedOperations, lossesOf, previewInWords } from "./impact";

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
  it("takes nothing from settings without names", () => {
    expect(lossesOf(MODELS, [], [])).toEqual([]);
  });

  it("names operations that lose a fallback or everything", () => {
    const rules = [
      { name: "a", when: { operation: ["sum"] }, chain: [{ model: "claude" }, { model: "gpt-5" }] },
      { name: "b", when: { operation: ["code", "review"] }, chain: [{ model: "gpt-5" }] },
      { name: "c", chain: [{ model: "gpt-5" }, { power_level: "eco" as const }], default: true },
      { name: "off", enabled: false, chain: [{ model: "gpt-5" }] },
    ];
    const losses = lossesOf(MODELS, rules, []);
    expect(losses.map(({ subject, kind, empty }) => [subject, kind, empty])).toEqual([
      ["code", "operation", true],
      ["review", "operation", true],
      ["sum", "operation", false],
      ["c", "rule", false],
    ]);
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
    const losses = lossesOf(MODELS, [{ name: "canary", chain: [split] }], scopes);
    expect(losses.map(({ subject, empty }) => [subject, empty])).toEqual([
      ["research", true],
      ["Default model", true],
      ["Fallback models of team support", false],
      ["canary", false],
    ]);
  });

  it("says nothing of models that it does not know", () => {
    expect(lossesOf(MODELS, [{ name: "a", chain: [{ model: "own-model" }] }], [])).toEqual([]);
  });
});

describe("past requests", () => {
  const preview = (
    operations: { operation: string | null; requests: number; refused?: number; fallback_lost?: number }[],
  ) => ({
    tenant: "acme",
    models_before: 31,
    models_after: 7,
    sampled: 100,
    operations,
  });

  it("are told in one sentence", () => {
    expect(previewInWords(preview([{ operation: "sum", requests: 9 }]))).toBe(
      "7 of 31 models remain, and no operation of the last 30 days loses any.",
    );
    expect(
      previewInWords(
        preview([
          { operation: "sum", requests: 9, fallback_lost: 9 },
          { operation: "code", requests: 3, fallback_lost: 1 },
          { operation: null, requests: 2, refused: 2, fallback_lost: 1 },
        ]),
      ),
    ).toBe(
      "7 of 31 models remain; 2 operations lose their fallback, requests of 1 operation would be refused.",
    );
  });

  it("list those first that would be refused", () => {
    const found = affectedOperations(
      preview([
        { operation: "a", requests: 1, fallback_lost: 1 },
        { operation: "b", requests: 1, refused: 1 },
        { operation: "c", requests: 1 },
      ]),
    );
    expect(found.map(({ operation }) => operation)).toEqual(["b", "a"]);
  });
});
