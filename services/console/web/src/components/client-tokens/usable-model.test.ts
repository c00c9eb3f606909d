import { expect, test } from "vitest";
import type { Schemas } from "@/api/client";
import { chooseModel } from "./usable-model";

function model(id: string, changes: Partial<Schemas["Model"]> = {}): Schemas["Model"] {
  return { id, provider: "openai", key_source: "byok", capabilities: ["chat"], ...changes };
}

test("echo answers if nothing else is there", () => {
  expect(chooseModel([])).toBe("echo");
  expect(chooseModel([model("echo", { provider: "echo", key_source: "none" })])).toBe("echo");
});

test("the default, else the cheapest chat model that can be called", () => {
  const prices = (input_usd: string) => ({ prices: { input_usd, price_version: "1" } });
  const models = [
    model("auto", { virtual: true }),
    model("dear", prices("9")),
    model("cheap", prices("0.5")),
    model("gone", { available: false, ...prices("0.1") }),
    model("embed", { capabilities: ["embeddings"], ...prices("0.01") }),
  ];
  expect(chooseModel(models)).toBe("cheap");
  expect(chooseModel([...models, model("mine", { default: true })])).toBe("mine");
});
