/** The ledger of credits as rows and as CSV. Pure. */

import type { Schemas } from "@/api/client";

export type CreditEntry = Schemas["CreditEntry"];

export const KIND_WORDS: Record<Schemas["CreditEntryKind"], string> = {
  grant: "Granted",
  adjustment: "Adjusted",
  usage: "Requests of the day",
  correction: "Corrected",
  purchase: "Bought",
  refund: "Refunded",
  failed_refund: "Refund failed",
  dispute: "Disputed",
  dispute_won: "Dispute won",
  debt: "Owed, since it was spent",
  debt_payment: "Paid what was owed",
  forfeit: "Forfeited",
};

/** Return the search of the request log for what an entry of usage adds up: the platform's requests of its day in UTC. */
export function requestsOf(entry: CreditEntry): string | null {
  if (entry.kind !== "usage") {
    return null;
  }
  const day = new Date(entry.at).toISOString().slice(0, 10);
  const next = new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10);
  return `?${new URLSearchParams({ since: `${day}T00:00:00Z`, until: `${next}T00:00:00Z`, key_source: "platform" })}`;
}

const COLUMNS = [
  "at",
  "kind",
  "credits",
  "balance",
  "actor",
  "reason",
  "source",
  "source_id",
  "entry_id",
] as const;

/** Return a field of CSV; a text that a spreadsheet would take for a formula begins with an apostrophe. */
export function csvField(text: string, numeric = false): string {
  const safe = !numeric && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Return all entries as CSV, with the amounts as the ledger has them. */
export function historyCsv(entries: readonly CreditEntry[]): string {
  const lines = entries.map((entry) =>
    COLUMNS.map((column) => csvField(entry[column] ?? "", column === "credits" || column === "balance")).join(
      ",",
    ),
  );
  return [COLUMNS.join(","), ...lines, ""].join("\r\n");
}
