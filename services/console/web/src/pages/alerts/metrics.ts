/** What alert rules can watch, in words. Pure. */

import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { formatDollars } from "@/format/money";
import { countOf, formatCount } from "@/format/numbers";

export type Metric = Schemas["AlertMetric"];
export type MetricView = Schemas["AlertMetricView"];
export type Unit = Schemas["AlertUnit"];
export type Window = Schemas["AlertWindow"];
export type ScopeField = Schemas["ScopeField"];

export const METRIC_WORDS: Record<Metric, string> = {
  spend: "Spend",
  requests: "Requests",
  tokens: "Tokens",
  failed_percent: "Share of failed attempts",
  latency_p95: "Latency (P95)",
  credit_balance: "Credit balance",
  credit_days_left: "Days that credits last",
  allowance_used_percent: "Free requests used",
  budget_used_percent: "Budget used",
  key_invalid: "Provider key does not work",
  key_expires_days: "Provider key expires",
  key_age_days: "Provider key is old",
  key_burst: "Unusually many requests with a key",
  key_new_model: "Key used with a new model",
  key_new_client_token: "Key used by a new client token",
  provider_outage: "Provider outage",
  stripe_webhook_failing: "Stripe webhooks fail",
  stripe_reconciliation: "Stripe differs from the ledger",
  lago_backlog: "Usage waits for Lago",
  reconciliation_difference: "Provider's bill differs",
  top_up_failing: "Automatic top-up fails",
  payment_disputed: "Payment disputed",
  channel_failing: "Channel does not deliver",
  webhook_endpoint_failing: "Webhook endpoint does not answer",
};

export const WINDOW_WORDS: Record<Window, string> = {
  month: "in a calendar month",
  week: "in a week, from Monday",
  day: "in a day",
  hour: "in an hour",
  last_15m: "in the last 15 to 30 minutes",
  last_60m: "in the last hour",
  last_24h: "in the last 24 hours",
};

export const SCOPE_WORDS: Record<ScopeField, string> = {
  provider: "Provider",
  model: "Model",
  operation: "Operation",
  team: "Team",
  member: "Member",
  client_token: "Client token",
  key: "Provider key",
  key_source: "Whose key pays",
  tag: "Tag",
  budget: "Budget",
};

export const UNIT_WORDS: Record<Unit, string> = {
  usd: "US dollars",
  credits: "credits",
  requests: "requests",
  tokens: "tokens",
  percent: "percent",
  ms: "milliseconds",
  days: "days",
  none: "",
};

/** Return a figure of a metric as text; the API has it as decimal text. */
export function formatValue(value: string | null | undefined, unit: Unit): string {
  if (value === null || value === undefined) {
    return "–";
  }
  switch (unit) {
    case "usd":
      return formatDollars(value);
    case "percent":
      return `${value} %`;
    case "ms":
      return formatDuration(Number(value));
    case "days":
      return `${value} ${value === "1" ? "day" : "days"}`;
    case "credits":
      return `${value} credits`;
    default:
      return /^\d+$/.test(value) ? countIn(unit, Number(value)) : value;
  }
}

function countIn(unit: Unit, count: number): string {
  return unit === "requests" ? countOf(count, "request") : `${formatCount(count)} ${UNIT_WORDS[unit]}`.trim();
}

type Rule = Schemas["AlertRule"];

/** Return what a rule watches and when it fires, in one sentence. */
export function conditionInWords(
  rule: Rule,
  view: MetricView | undefined,
  named: ReadonlyMap<string, string>,
): string {
  const unit = view?.unit ?? "none";
  const { threshold, unusual } = rule.condition ?? {};
  const side = view?.compared === "at_most" ? "at most" : "at least";
  const when = [
    unusual ? `is unusual for the hour (${unusual} sensitivity)` : null,
    threshold ? `is ${side} ${formatValue(threshold, unit)}` : null,
  ].filter((part) => part !== null);
  const scope = scopeInWords(rule.scope ?? {}, named);
  const parts = [
    METRIC_WORDS[rule.metric],
    rule.window ? WINDOW_WORDS[rule.window] : null,
    scope === "" ? null : `of ${scope}`,
    when.length > 0 ? when.join(" and ") : null,
  ];
  return parts.filter((part) => part !== null).join(" ");
}

/** Return a scope in words, such as `team research, model gpt-5`; empty for everything. */
export function scopeInWords(scope: Schemas["AlertScope"], named: ReadonlyMap<string, string>): string {
  return (Object.keys(SCOPE_WORDS) as ScopeField[])
    .flatMap((field) => {
      const value = scope[field];
      if (value === null || value === undefined) {
        return [];
      }
      const text = typeof value === "object" ? `${value.name}=${value.value}` : (named.get(value) ?? value);
      return [`${SCOPE_WORDS[field].toLowerCase()} ${text}`];
    })
    .join(", ");
}
