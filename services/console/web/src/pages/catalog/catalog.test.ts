import { describe, expect, it } from "vitest";
import { readSearch } from "@/url/search";
import { CATALOG_SEARCH, type Model, perMillion, selectModels } from "./catalog";

const model = (id: string, more: Partial<Model> = {}): Model => ({
  id,
  provider: "openai",
  key_source: "byok",
  ...more,
});
const filters = (search: string) => readSearch(CATALOG_SEARCH, search).values;

const CHEAP = model("cheap", {
  prices: { input_usd: "0.15", output_usd: "0.60", price_version: "1" },
  eu: true,
});
const DEAR = model("dear", {
  prices: { input_usd: "10", output_usd: "30", price_version: "1" },
  capabilities: ["vision"],
  available: false,
  provider: "anthropic",
});
const UNKNOWN = model("unknown", { providers: ["mistral", "openai"] });
const ALL = [UNKNOWN, DEAR, CHEAP];

describe("the catalog", () => {
  it.each([
    ["", ["cheap", "dear", "unknown"]],
    ["q=CHE", ["cheap"]],
    ["capability=vision", ["dear"]],
    ["provider=mistral", ["unknown"]],
    ["eu=1", ["cheap"]],
    ["mine=1", ["cheap", "unknown"]],
    ["sort=input", ["cheap", "dear", "unknown"]],
    ["sort=input&order=down", ["dear", "cheap", "unknown"]],
    ["order=down", ["unknown", "dear", "cheap"]],
  ])("with %s shows %s", (search, ids) => {
    expect(selectModels(ALL, filters(search)).map((each) => each.id)).toEqual(ids);
  });

  it.each([
    ["0.15", "$0.15"],
    ["10", "$10.00"],
    ["0.0750", "$0.075"],
    [null, null],
  ])("shows the price %s as %s", (usd, shown) => {
    expect(perMillion(usd)).toBe(shown);
  });
});
