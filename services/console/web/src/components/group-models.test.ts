import { describe, expect, it } from "vitest";
import { groupModels } from "./group-models";

const MODELS = [
  { id: "gpt-5", provider: "openai" },
  { id: "gpt-5", provider: "azure" },
  { id: "text-embedding-3-small", provider: "openai", capabilities: ["embeddings" as const] },
  { id: "auto", provider: "openai", virtual: true },
  { id: "llama", provider: "custom", endpoint: "gpu-box" },
];

describe("options of models", () => {
  it("has each model once, below its provider or endpoint", () => {
    expect(groupModels(MODELS, "chat")).toEqual([
      { group: "openai", items: [{ value: "gpt-5", label: "gpt-5" }] },
      { group: "gpu-box", items: [{ value: "llama", label: "llama" }] },
    ]);
  });

  it("has embedding models where they are of use", () => {
    const ids = groupModels(MODELS, "any").flatMap(({ items }) => items.map(({ value }) => value));
    expect(ids).toEqual(["gpt-5", "text-embedding-3-small", "llama"]);
  });

  it("keeps a saved model that is not listed", () => {
    expect(groupModels([], "chat", ["gone"])).toEqual([
      { group: "Not available now", items: [{ value: "gone", label: "gone" }] },
    ]);
  });
});
