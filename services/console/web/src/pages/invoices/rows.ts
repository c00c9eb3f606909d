/** What the page of invoices shows of a statement, as rows of text. */

import type { Schemas } from "@/api/client";
import { formatExact } from "@/format/money";

export type Statement = Schemas["Statement"];
export type StatementSummary = Schemas["StatementSummary"];
export type BreakdownRow = Schemas["BreakdownRow"];
type Figures = Schemas["UsageFigures"];
type Value = Schemas["DimensionValue"];

export const STATE_WORDS: Record<Schemas["StatementState"], string> = {
  open: "Up to now",
  settling: "Ended, not complete yet",
  closed: "Complete",
};

const ENTRY_WORDS: Record<Schemas["StatementEntryKind"], string> = {
  purchase: "Purchases",
  grant: "Grants",
  refund: "Refunds",
  dispute: "Disputed payments",
  debt: "Paid of what was owed",
  adjustment: "Adjustments",
  charge: "Charges of requests",
  correction: "Corrections of charges",
  other: "Other",
};

const RECONCILIATION_WORDS: Record<Schemas["ReconciliationKind"], string> = {
  recorded_in_other_month: "Began in this month, recorded in another",
  begun_in_other_month: "Recorded in this month, began in another",
  rerated: "Later changes of this month's charges by corrected prices",
  corrections: "Corrections posted in this month",
  uncollected: "Charges that found no credits, paid by the platform",
  removed: "Requests that are no longer kept one by one",
};

const KEY_WORDS: Record<string, string> = {
  byok: "Your keys",
  platform: "Platform credits",
  custom: "Own servers",
  none: "Without a key",
};

const DIMENSION_WORDS: Record<string, string> = {
  model: "Model",
  provider: "Provider",
  key_source: "Billed to",
  team: "Team",
  member: "Member",
  client_token: "Client token",
};

/** A row of amounts: what it is, how many there are, and the amount. */
export interface AmountRow {
  readonly id: string;
  readonly what: string;
  readonly count: number | null;
  readonly amount: string;
}

/** A row of usage. */
export interface UsageRow {
  readonly id: string;
  readonly name: string;
  readonly figures: Figures;
}

/** Return the name of a month, such as `October 2026`. */
export function monthName(month: string): string {
  const day = new Date(`${month}-15T00:00:00Z`);
  return new Intl.DateTimeFormat("en-US", { month: "long", year: "numeric", timeZone: "UTC" }).format(day);
}

/** Return the rows from the opening to the closing balance. */
export function accountRows(statement: Statement): readonly AmountRow[] {
  const { account } = statement;
  return [
    row("opening", "Opening balance", null, account.opening_micro_usd),
    ...account.sums.map((sum) => row(sum.kind, ENTRY_WORDS[sum.kind], sum.transfers, sum.amount_micro_usd)),
    row("closing", "Closing balance", null, account.closing_micro_usd),
  ];
}

/** Return the rows from the charges of the month's attempts to the charges that were posted in it. */
export function reconciliationRows(statement: Statement): readonly AmountRow[] {
  const { reconciliation } = statement;
  return [
    row("usage", "Charges of requests that began in this month", null, reconciliation.usage_micro_usd),
    ...reconciliation.lines.map((line) =>
      row(line.kind, RECONCILIATION_WORDS[line.kind], line.attempts || null, line.amount_micro_usd),
    ),
    row("posted", "Taken from the credits in this month", null, reconciliation.posted_micro_usd),
  ];
}

function row(id: string, what: string, count: number | null, amount: number): AmountRow {
  return { id, what, count, amount: formatExact(amount) };
}

/** A breakdown that can be chosen: `lines`, a dimension, or `tag:` with the name of a tag. */
export interface BreakdownChoice {
  readonly value: string;
  readonly label: string;
}

const LINES = "lines";

/** Return the breakdowns of a statement, of which the lines are the first. */
export function choicesOf(statement: Statement): readonly BreakdownChoice[] {
  return [
    { value: LINES, label: "Model, provider, key and team" },
    ...statement.breakdowns.map((each) => {
      const value = each.tag ? `tag:${each.tag}` : each.by;
      return { value, label: each.tag ? `Tag ${each.tag}` : (DIMENSION_WORDS[each.by] ?? each.by) };
    }),
  ];
}

/** Return the rows of a breakdown with the rest, if there is one, and the total that they add up to. */
export function usageRows(statement: Statement, choice: string): readonly UsageRow[] {
  const found =
    choice === LINES
      ? undefined
      : statement.breakdowns.find((each) => choice === (each.tag ? `tag:${each.tag}` : each.by));
  const rows = found?.rows ?? statement.lines;
  const rest = found ? found.rest : statement.rest;
  const others = found ? found.rest_count : statement.lines_left_out;
  return [
    ...rows.map((each, index) => ({
      id: `${index}`,
      name: each.keys.map(valueName).join(" · "),
      figures: each.figures,
    })),
    ...(rest ? [{ id: "rest", name: `${others ?? 0} others`, figures: rest }] : []),
    { id: "total", name: "Total", figures: statement.total },
  ];
}

/** Return a value as people read it. */
export function valueName(key: Value): string {
  if (key.kind === "none" || (key.kind === "value" && !key.value)) {
    return `Without a ${(DIMENSION_WORDS[key.dimension] ?? key.dimension).toLowerCase()}`;
  }
  if (key.kind !== "value") {
    return "Others";
  }
  const value = key.value ?? "";
  return key.dimension === "key_source" ? (KEY_WORDS[value] ?? value) : value;
}

/** Return what providers take, exactly as the API has it. */
export function costText(figures: Figures): string {
  if (figures.cost_usd === null || figures.cost_usd === undefined) {
    return "unknown";
  }
  return `$${figures.cost_usd}${figures.unpriced > 0 ? " +" : ""}`;
}
