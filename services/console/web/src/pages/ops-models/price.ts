import type { Schemas } from "@/api/client";

const KINDS: readonly (readonly [string, string])[] = [
  ["input", "input"],
  ["cached_read", "cached input"],
  ["output", "output"],
  ["per_request", "a request"],
];

/** Return a price in words: `input 0.15, output 0.6`, or `0.9 times gpt-4o`. */
export function priceWords(price: Pick<Schemas["PriceEntry"], "prices" | "base" | "factor">): string {
  if (price.factor) {
    return `${price.factor} times ${price.base ?? "the list price"}`;
  }
  const values: Record<string, unknown> = { ...price.prices };
  const parts = KINDS.filter(([kind]) => values[kind] !== null && values[kind] !== undefined);
  return parts.length === 0
    ? "free"
    : parts.map(([kind, words]) => `${words} ${String(values[kind])}`).join(", ");
}

/** Return the decimal that a field holds; null if it is empty, undefined if it is no price. */
export function parsePrice(text: string): string | null | undefined {
  const trimmed = text.trim();
  if (trimmed === "") {
    return null;
  }
  return /^\d{1,9}(\.\d{1,12})?$/.test(trimmed) ? trimmed : undefined;
}
