import type { Schemas } from "@/api/client";

type CatalogModel = Schemas["CatalogModel-Input"];

/** What a new entry begins with. */
export const NEW_MODEL = {
  id: "",
  maker: "",
  title: "",
  description: "",
  best_for: [],
  model_class: "balanced",
  capabilities: ["chat"],
  tier: "free",
  offerings: [{ provider: "", model: "" }],
};

/** Return the entry that a text holds, or what is wrong with it; the API checks the fields. */
export function parseModel(json: string): { model: CatalogModel | null; problem: string | null } {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return {
      model: null,
      problem: error instanceof Error ? `This is no JSON: ${error.message}` : "This is no JSON.",
    };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { model: null, problem: "An entry is a JSON object." };
  }
  return { model: value as CatalogModel, problem: null };
}
