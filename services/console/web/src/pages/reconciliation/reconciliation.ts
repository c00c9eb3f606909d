/** What the page says about comparisons with providers. */

import type { Schemas } from "@/api/client";
import { addDecimals } from "@/format/decimals";
import { formatDollars } from "@/format/money";
import { formatCount } from "@/format/numbers";

export type Reconciliation = Schemas["Reconciliation"];
export type ReconciliationRow = Schemas["ReconciliationRow"];

export const WAYS = ["api", "csv", "total"] as const;
export type Way = (typeof WAYS)[number];
/** Providers that can be asked for usage with an admin key. */
export const WITH_API: readonly string[] = ["anthropic", "openai", "openrouter"];
/** Characters of a pasted CSV. */
export const MOST_CSV = 200_000;

const UNKNOWN = "unknown";
const REASONS: Record<Schemas["DifferenceReason"], string> = {
  incomplete_day: "day not complete",
  unreported: "usage unknown",
  estimated: "estimated usage",
  across_midnight: "across midnight",
  unpriced: "no price",
  price: "other price",
  several_prices: "price changed",
  other_name: "other name",
  elsewhere: "used elsewhere",
  not_at_provider: "not at the provider",
};

/** Return an amount in dollars as text; what is not known is not 0. */
export function amountText(amount: string | null | undefined): string {
  return amount === null || amount === undefined ? UNKNOWN : formatDollars(amount, true);
}

/** Return a difference with its sign. */
export function signedAmount(amount: string | null | undefined): string {
  if (amount === null || amount === undefined) {
    return UNKNOWN;
  }
  const negative = amount.startsWith("-");
  return `${negative ? "−" : "+"}${formatDollars(amount.replace(/^-/, ""), true)}`;
}

/** Return a difference of tokens with its sign; a dash if the provider states none. */
export function signedTokens(difference: number | null | undefined): string {
  if (difference === null || difference === undefined) {
    return "–";
  }
  return `${difference < 0 ? "−" : "+"}${formatCount(Math.abs(difference))}`;
}

/** Return the tokens that a provider states for a row; null if it states none. */
export function statedTokens(row: ReconciliationRow): number | null {
  const { provider_prompt_tokens: prompt, provider_completion_tokens: completion } = row;
  return prompt == null && completion == null ? null : (prompt ?? 0) + (completion ?? 0);
}

/** Return what may explain the difference of a row, in a few words. */
export function reasonsOf(row: ReconciliationRow): string[] {
  return (row.explanations ?? []).map((each) => REASONS[each.reason]);
}

/** Return each explanation of a report once. */
export function detailsOf(report: Reconciliation): string[] {
  return [
    ...new Set((report.rows ?? []).flatMap((row) => (row.explanations ?? []).map((each) => each.detail))),
  ];
}

/** Return the sentence at the head of a report. */
export function summaryOf(report: Reconciliation): string {
  const { totals } = report;
  const cost = totals.cost_difference_usd;
  if (cost === null || cost === undefined) {
    return totals.token_difference === null || totals.token_difference === undefined
      ? "There is nothing to compare the recorded usage with."
      : `The provider reports ${signedTokens(totals.token_difference)} tokens compared with what was recorded.`;
  }
  if (Number(cost) === 0) {
    return "The provider charges exactly what was recorded.";
  }
  const more = cost.startsWith("-") ? "less" : "more";
  return `The provider charges ${amountText(cost.replace(/^-/, ""))} ${more} than was recorded.`;
}

/** Return the first and the last day of the month before a day, both as `2026-11-30`. */
export function lastMonth(today: string): { since: string; until: string } {
  const first = new Date(`${today.slice(0, 7)}-01T00:00:00Z`);
  const last = new Date(first.getTime() - 86_400_000);
  const until = last.toISOString().slice(0, 10);
  return { since: `${until.slice(0, 7)}-01`, until };
}

/** Return what is wrong with what somebody has typed, by field; nothing if it can be sent. */
export function mistakesOf(given: {
  provider: string;
  since: string;
  until: string;
  way: Way;
  csv: string;
  total: string;
}): Record<string, string> {
  const found: Record<string, string> = {};
  if (!given.provider) {
    found.provider = "Choose a provider";
  } else if (given.way === "api" && !WITH_API.includes(given.provider)) {
    found.way = "This provider cannot be asked: paste its figures";
  }
  if (!given.since || !given.until || given.until < given.since) {
    found.until = "The last day is not before the first one";
  }
  if (given.way === "csv" && !given.csv.trim()) {
    found.csv = "Paste a CSV with its first line";
  } else if (given.way === "csv" && given.csv.length > MOST_CSV) {
    found.csv = `At most ${formatCount(MOST_CSV)} characters: compare fewer days at once`;
  }
  if (given.way === "total" && !/^\$?[0-9]{1,12}(\.[0-9]{1,12})?$/.test(given.total.trim())) {
    found.total = "An amount in dollars with a decimal point, as 1234.56";
  }
  return found;
}

/** Return the sum of the differences that are shown, which is that of the totals unless rows are left out. */
export function shownDifference(rows: readonly ReconciliationRow[]): string {
  return addDecimals(rows.flatMap((row) => row.cost_difference_usd ?? []));
}
