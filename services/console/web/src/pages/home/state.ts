/** What the page says in one sentence, and what it asks people to look at. Pure. */

import type { Schemas } from "@/api/client";
import type { Condition } from "@/components/provider-health";
import { formatCredits } from "@/format/credits";
import { formatTotal } from "@/format/money";
import { countOf, formatShare } from "@/format/numbers";
import type { StatusKind } from "@/ui";

type Series = Schemas["UsageSeries"];

export interface Today {
  readonly spend: number;
  readonly requests: number;
  readonly tokens: number;
  /** The same until this time of the day on a usual day of the same name; null if too few are known. */
  readonly usual: { readonly spend: number; readonly requests: number; readonly tokens: number } | null;
  readonly weekday: string;
  /** The spend of each hour of today. */
  readonly hours: readonly number[];
}

const LEAST_WEEKS = 2;

interface Day {
  spend: number;
  requests: number;
  tokens: number;
  attempts: number;
  hours: number[];
}

/**
 * Return today's figures, and those of a usual day of the same name until the same time: the median of the weeks before.
 * `series` has hours of the billing zone and begins at the start of a day, whole weeks before today.
 */
export function todayOf(series: Pick<Series, "buckets" | "lines" | "tz" | "as_of">): Today {
  const dayFormat = new Intl.DateTimeFormat("en-CA", {
    timeZone: series.tz,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
  });
  const weekdayFormat = new Intl.DateTimeFormat("en-US", { timeZone: series.tz, weekday: "long" });
  const clockFormat = new Intl.DateTimeFormat("en-GB", {
    timeZone: series.tz,
    hour: "2-digit",
    hourCycle: "h23",
  });
  const now = new Date(series.as_of);
  const today = dayFormat.format(now);
  const weekday = weekdayFormat.format(now);
  const hour = clockFormat.format(now);
  const days = new Map<string, Day>();
  series.buckets.forEach(({ start }, index) => {
    const begin = new Date(start);
    const day = dayFormat.format(begin);
    if (weekdayFormat.format(begin) !== weekday || clockFormat.format(begin) > hour) {
      return;
    }
    const sums = days.get(day) ?? { spend: 0, requests: 0, tokens: 0, attempts: 0, hours: [] };
    for (const line of series.lines) {
      const point = line.points[index];
      if (point) {
        sums.spend += point.spend_micro_usd ?? 0;
        sums.requests += point.requests;
        sums.tokens += point.total_tokens;
        sums.attempts += point.attempts;
        sums.hours.push(point.spend_micro_usd ?? 0);
      }
    }
    days.set(day, sums);
  });
  const current = days.get(today) ?? { spend: 0, requests: 0, tokens: 0, attempts: 0, hours: [] };
  days.delete(today);
  const before = [...days.values()].filter((day) => day.attempts > 0);
  const usual =
    before.length < LEAST_WEEKS
      ? null
      : {
          spend: median(before.map((day) => day.spend)),
          requests: median(before.map((day) => day.requests)),
          tokens: median(before.map((day) => day.tokens)),
        };
  const { spend, requests, tokens, hours } = current;
  return { spend, requests, tokens, hours, usual, weekday };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, two) => one - two);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : Math.round(((sorted[middle - 1] ?? upper) + upper) / 2);
}

/** Return how health stands, in a sentence. */
export function healthSentence(conditions: readonly { provider: string; condition: Condition }[]): string {
  const used = conditions.filter((each) => each.condition !== "unused");
  if (used.length === 0) {
    return "No provider has been called lately.";
  }
  const troubled = used.filter((each) => each.condition !== "healthy");
  if (troubled.length === 0) {
    return used.length === 1
      ? `${used[0]?.provider ?? "The provider"} is healthy.`
      : `All ${used.length} providers are healthy.`;
  }
  const down = troubled.filter((each) => each.condition === "down");
  const named = (list: typeof troubled) => list.map((each) => each.provider).join(", ");
  const parts = [
    down.length > 0 ? `${named(down)} ${down.length === 1 ? "is" : "are"} down` : "",
    troubled.length > down.length
      ? `${named(troubled.filter((each) => each.condition === "degraded"))} degraded`
      : "",
  ].filter((part) => part !== "");
  return `${troubled.length} of ${used.length} providers in trouble: ${parts.join("; ")}.`;
}

/** Return what today has cost against a usual day, in a sentence. */
export function spendSentence(today: Today): string {
  const amount = `${formatTotal(today.spend)} today`;
  if (today.usual === null || today.usual.spend === 0) {
    return `${amount}.`;
  }
  const change = (today.spend - today.usual.spend) / today.usual.spend;
  if (Math.abs(change) < 0.01) {
    return `${amount}, like a usual ${today.weekday} by this time.`;
  }
  const words = change < 0 ? "below" : "above";
  return `${amount}, ${formatShare(Math.abs(change), 0)} ${words} a usual ${today.weekday} by this time.`;
}

/** Return how long credits last, in a sentence; empty where there are none. */
export function creditsSentence(credits: Pick<Schemas["CreditBalance"], "state" | "days_left">): string {
  switch (credits.state) {
    case "none":
      return "";
    case "empty":
      return "Credits are used up.";
    default: {
      const days = credits.days_left ?? null;
      if (days === null) {
        return "";
      }
      return days === 0
        ? "Credits last less than a day."
        : days > 365
          ? "Credits last more than a year."
          : `Credits last about ${countOf(days, "day")}.`;
    }
  }
}

export interface Attention {
  readonly kind: StatusKind;
  readonly text: string;
  /** The path below the tenant's own, and what is there to do. */
  readonly path: string;
  readonly action: string;
}

/** Return what about provider keys needs somebody. */
export function keyAttention(summary: Schemas["ProviderKeySummary"]): readonly Attention[] {
  const count = (status: Schemas["KeyStatus"]) => summary.by_status[status] ?? 0;
  const broken = count("invalid") + count("expired") + count("undecryptable");
  const entries: [number, StatusKind, string, string][] = [
    [broken, "error", "does not work", "do not work"],
    [count("degraded"), "warning", "works only in part", "work only in part"],
    [summary.over_limit, "error", "has used up its monthly limit", "have used up their monthly limit"],
    [summary.expiring_soon, "warning", "expires within 14 days", "expire within 14 days"],
    [summary.credit_low, "warning", "has little credit left at its provider", "have little credit left"],
    [summary.rotation_due, "info", "should be rotated", "should be rotated"],
  ];
  return entries
    .filter(([number]) => number > 0)
    .map(([number, kind, one, many]) => ({
      kind,
      text: `${countOf(number, "provider key")} ${number === 1 ? one : many}.`,
      path: "keys",
      action: "Look at the keys",
    }));
}

/** Return what about credits needs somebody. */
export function creditAttention(credits: Schemas["CreditBalance"]): readonly Attention[] {
  if (credits.state === "empty") {
    const text = "Credits are used up: requests on the platform's keys are refused.";
    return [{ kind: "error", text, path: "credits", action: "Look at credits" }];
  }
  if (credits.state === "low") {
    const text = `Credits are low: ${formatCredits(credits.available)} available.`;
    return [{ kind: "warning", text, path: "credits", action: "Look at credits" }];
  }
  return [];
}

/** Return which budgets are used up or have passed a threshold. */
export function budgetAttention(budgets: readonly Schemas["BudgetState"][]): readonly Attention[] {
  return budgets
    .filter(
      (state) => state.budget.enabled !== false && (state.exhausted || state.thresholds_passed.length > 0),
    )
    .map((state) => {
      const name = state.budget.name ?? "A budget";
      const limit = formatTotal(state.budget.limit_micro_usd);
      const refused = state.exhausted && state.budget.hard !== false;
      return {
        kind: state.exhausted ? "error" : "warning",
        text: state.exhausted
          ? `${name} is used up (${limit})${refused ? ": requests that it counts are refused" : ""}.`
          : `${name} is at ${state.percent} % of ${limit}.`,
        path: "credits?tab=budgets",
        action: "Look at budgets",
      };
    });
}

/** Return which outages go on. */
export function outageAttention(
  outages: readonly Schemas["Outage"][],
  title: (provider: string) => string,
): readonly Attention[] {
  return outages
    .filter((outage) => (outage.ended_at ?? null) === null)
    .map((outage) => ({
      kind: "error",
      text: `${outage.endpoint ?? title(outage.provider)} has an outage. ${
        outage.affected_requests === 0
          ? "No request of yours was affected."
          : `${countOf(outage.affected_requests, "request")} affected${outage.served_elsewhere > 0 ? `, ${outage.served_elsewhere} of them served elsewhere` : ""}.`
      }`,
      path: "health",
      action: "Look at the outage",
    }));
}

export interface Step {
  readonly id: "key" | "token" | "request" | "alert";
  readonly title: string;
  readonly done: boolean;
  readonly text: string;
  readonly path: string;
  readonly action: string;
  /** Not there yet in this version. */
  readonly coming?: boolean;
}

interface Progress {
  readonly keys: number;
  readonly platform: boolean;
  readonly tokens: number;
  readonly requests: number;
}

/** Return the steps of a new tenant. */
export function firstSteps({ keys, platform, tokens, requests }: Progress): readonly Step[] {
  return [
    {
      id: "key",
      title: "Add a provider key, or use the platform's",
      done: keys > 0 || platform || requests > 0,
      text: "Keys are kept encrypted and are never shown again.",
      path: "keys",
      action: "Add key",
    },
    {
      id: "token",
      title: "Create a client token",
      done: tokens > 0,
      text: "Your apps present it to the gateway in place of a provider's key.",
      path: "tokens",
      action: "Create token",
    },
    {
      id: "request",
      title: "Send a request",
      done: requests > 0,
      text: "Any OpenAI client works: only its base URL and its key change.",
      path: "quick-start",
      action: "Show how",
    },
    {
      id: "alert",
      title: "Set an alert",
      done: false,
      text: "Alerts come in a later version; until then budgets have thresholds.",
      path: "alerts",
      action: "Read more",
      coming: true,
    },
  ];
}
