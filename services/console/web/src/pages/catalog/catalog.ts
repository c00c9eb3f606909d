/** Filtering and sorting of the catalog, and in words why a model cannot be called. */

import type { Schemas } from "@/api/client";
import { flag, oneOf, optionOf, type SearchValues, text, texts } from "@/url/search";

export type Model = Schemas["Model"];
export const CAPABILITIES = [
  "chat",
  "reasoning",
  "vision",
  "audio_input",
  "tools",
  "json_schema",
  "coding",
  "embeddings",
] as const;
export const SORTS = ["name", "input", "output", "context"] as const;
export const MOST_COMPARED = 4;

export const CATALOG_SEARCH = {
  q: text(),
  capability: optionOf(CAPABILITIES),
  provider: text(/^[a-z0-9._-]{0,100}$/),
  eu: flag(),
  mine: flag(),
  sort: oneOf(SORTS, "name"),
  order: oneOf(["up", "down"], "up"),
  compare: texts(/^[\x21-\x7e]{1,200}$/, MOST_COMPARED),
};

export type CatalogFilters = SearchValues<typeof CATALOG_SEARCH>;

/** Return the models that match, in the chosen order; models without the value that sorts come last. */
export function selectModels(models: readonly Model[], filters: CatalogFilters): readonly Model[] {
  const words = filters.q.toLowerCase().split(/\s+/).filter(Boolean);
  const direction = filters.order === "down" ? -1 : 1;
  return models
    .filter((model) => {
      const haystack =
        `${model.id} ${model.title ?? ""} ${model.maker ?? ""} ${model.provider}`.toLowerCase();
      return (
        words.every((word) => haystack.includes(word)) &&
        (filters.capability === null || (model.capabilities ?? []).includes(filters.capability)) &&
        (filters.provider === "" || providersOf(model).includes(filters.provider)) &&
        (!filters.eu || model.eu === true) &&
        (!filters.mine || model.available !== false)
      );
    })
    .toSorted((one, other) => {
      const [a, b] = [sortValue(one, filters.sort), sortValue(other, filters.sort)];
      if (a === null || b === null) {
        return a === b ? one.id.localeCompare(other.id) : a === null ? 1 : -1;
      }
      const difference = typeof a === "string" ? a.localeCompare(String(b)) : a - Number(b);
      return difference === 0 ? one.id.localeCompare(other.id) : difference * direction;
    });
}

function sortValue(model: Model, sort: CatalogFilters["sort"]): number | string | null {
  switch (sort) {
    case "name":
      return model.title ?? model.id;
    case "context":
      return model.context_tokens ?? null;
    case "input":
      return model.prices ? Number(model.prices.input_usd) : null;
    case "output":
      return model.prices?.output_usd ? Number(model.prices.output_usd) : null;
  }
}

/** Return the providers that offer a model. */
export function providersOf(model: Model): readonly string[] {
  return model.providers && model.providers.length > 0 ? model.providers : [model.provider];
}

/** Return a price per million tokens, such as `$0.15`, with as many decimals as it has but at least two; null if unknown. */
export function perMillion(usd: string | null | undefined): string | null {
  if (!usd) {
    return null;
  }
  const [whole = "0", fraction = ""] = usd.split(".");
  const shown = fraction.replace(/0+$/, "").padEnd(2, "0");
  return `$${Number(whole).toLocaleString("en-US")}.${shown}`;
}
