/** What the page says in one sentence about all keys. Pure. */

import type { Schemas } from "@/api/client";
import { countOf, formatCount } from "@/format/numbers";

/** Return whether keys work and what needs attention, most urgent first. */
export function summarySentence(summary: Schemas["ProviderKeySummary"]): string {
  if (summary.keys === 0) {
    return "No keys of your own yet.";
  }
  const working =
    summary.usable === summary.keys
      ? `${summary.keys === 1 ? "The key can be used" : `All ${formatCount(summary.keys)} keys can be used`}.`
      : `${formatCount(summary.usable)} of ${countOf(summary.keys, "key")} can be used.`;
  const concerns = [
    concern(summary.by_status.invalid, "is invalid", "are invalid"),
    concern(
      summary.by_status.degraded,
      "lacks credit, a model or a region",
      "lack credit, a model or a region",
    ),
    concern(summary.by_status.expired, "has expired", "have expired"),
    concern(summary.by_status.undecryptable, "cannot be read", "cannot be read"),
    concern(summary.over_limit, "is over its limit", "are over their limit"),
    concern(summary.credit_low, "is low on credit", "are low on credit"),
    concern(summary.expiring_soon, "expires within 14 days", "expire within 14 days"),
    concern(summary.rotation_due, "is due for rotation", "are due for rotation"),
    concern(summary.by_status.untested, "is untested", "are untested"),
  ].filter((text) => text !== "");
  return [working, ...(concerns.length > 0 ? [`${concerns.join(", ")}.`] : [])].join(" ");
}

function concern(count: number | undefined, one: string, several: string): string {
  return count ? `${formatCount(count)} ${count === 1 ? one : several}` : "";
}
