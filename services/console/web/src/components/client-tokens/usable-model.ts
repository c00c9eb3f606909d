import { query, type Schemas } from "@/api/client";

/** Return a model that the tenant can call now: its default, else a cheap one with a key, else the built-in echo. */
export function useUsableModel() {
  return query.useQuery(
    "get",
    "/api/v1/models",
    { params: { query: { limit: 1000 } } },
    { select: (page) => chooseModel(page.data) },
  );
}

/** Return the model for a first request. Pure. */
export function chooseModel(models: readonly Schemas["Model"][]): string {
  const able = models.filter((model) => model.available !== false && !model.virtual && isChat(model));
  const cheap = [...able]
    .filter((model) => model.id !== "echo")
    .sort((first, second) => rank(first) - rank(second));
  return (able.find((model) => model.default) ?? cheap[0])?.id ?? "echo";
}

function isChat(model: Schemas["Model"]): boolean {
  return !model.capabilities || model.capabilities.length === 0 || model.capabilities.includes("chat");
}

function rank(model: Schemas["Model"]): number {
  // A comparison of prices, not an amount: what has no price comes last.
  return model.prices ? Number(model.prices.input_usd) : Number.POSITIVE_INFINITY;
}
