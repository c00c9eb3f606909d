/** What follows from the removal of a key, from its last seven days. Pure. */

import type { Schemas } from "@/api/client";
import { countOf } from "@/format/numbers";

export interface Impact {
  readonly requests: number;
  readonly operations: number;
}

/** Return how much a key was used, from its usage by operation. */
export function impactOf(usage: Schemas["UsageBreakdown"]): Impact {
  return { requests: usage.total.requests, operations: usage.rows.length + (usage.rest_count ?? 0) };
}

/** Who takes over: `others` is how many other keys for the provider can be used. */
export function consequence(
  impact: Impact,
  others: number,
  policy: Schemas["KeyPolicy"] | null,
  provider: string,
): string {
  if (impact.requests === 0) {
    return "No request used this key in the last 7 days.";
  }
  const used = `${countOf(impact.operations, "operation")} and ${countOf(impact.requests, "request")} in 7 days ${impact.requests === 1 && impact.operations === 1 ? "used" : "use"} this key.`;
  if (others > 0) {
    return `${used} ${countOf(others, `other key`)} for ${provider} will pay for such requests.`;
  }
  if (policy === "own_then_platform" || policy === null) {
    return `${used} It is your last usable key for ${provider}: platform credits will pay for such requests where your plan allows it, else they fail.`;
  }
  return `${used} They will fail: it is your last usable key for ${provider}.`;
}
