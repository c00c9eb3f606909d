/** What the page says about recommendations. */

import type { Schemas } from "@/api/client";
import { formatTotal } from "@/format/money";
import { countOf } from "@/format/numbers";

export type Recommendation = Schemas["Recommendation"];

export const PERIODS = ["7", "30", "90"] as const;

/** Return the sum of what can be saved. Recommendations of one kind are about different requests; those of several may overlap. */
export function savedByKind(recommendations: readonly Recommendation[]): Map<Recommendation["kind"], bigint> {
  const sums = new Map<Recommendation["kind"], bigint>();
  for (const each of recommendations) {
    sums.set(each.kind, (sums.get(each.kind) ?? 0n) + BigInt(each.saved_micro_usd));
  }
  return sums;
}

/** Return the greatest sum of one kind, which can be saved for certain without counting a request twice. */
export function leastSaved(recommendations: readonly Recommendation[]): bigint {
  return [...savedByKind(recommendations).values()].reduce((most, each) => (each > most ? each : most), 0n);
}

/** Return the sentence at the head of the page. */
export function summaryOf(found: Schemas["Recommendations"], days: number): string {
  if (found.sampled === 0) {
    return `No request of the last ${countOf(days, "day")} can be planned again.`;
  }
  const of = `${countOf(found.requests, "request")} of the last ${countOf(days, "day")} come to ${formatTotal(found.spend_micro_usd)} at today's prices`;
  const saved = leastSaved(found.recommendations);
  return saved > 0n
    ? `${of}; at least ${formatTotal(saved)} of that could have been saved.`
    : `${of}; nothing would have made them noticeably cheaper.`;
}

/** Return a change of a figure in words, such as `quality 81 → 78`; null if neither is known. */
export function changeInWords(
  name: string,
  before: number | null | undefined,
  after: number | null | undefined,
  format: (value: number) => string = String,
): string | null {
  const known = (value: number | null | undefined) =>
    value === null || value === undefined ? "not known" : format(value);
  return (before ?? after ?? null) === null ? null : `${name} ${known(before)} → ${known(after)}`;
}
