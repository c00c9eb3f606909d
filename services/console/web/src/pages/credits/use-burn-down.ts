/** What the chart of the balance needs: the balances of the past days, and what the coming ones will take. */

import { keepPreviousData } from "@tanstack/react-query";
import { query, type Schemas } from "@/api/client";
import { creditsToMicroUsd } from "@/format/credits";
import { dayOf, nextDay, startOfDay } from "@/format/zone";
import { type BurnDown, balancesAt, burnDown } from "./forecast";
import type { CreditEntry } from "./history";

const DAYS = 14;

export interface Burn {
  /** The days before today and today, as `2026-11-30`, and the balance at the end of each. */
  readonly days: readonly string[];
  readonly past: readonly (number | null)[];
  /** Null while it is not known how long the credits last. */
  readonly down: BurnDown | null;
}

function shift(day: string, by: number): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + by * 86_400_000).toISOString().slice(0, 10);
}

function weekdayOf(day: string): number {
  return new Date(`${day}T00:00:00Z`).getUTCDay();
}

/** Return the balances of two weeks and the projection of the credits. */
export function useBurnDown(
  zone: string,
  credits: Schemas["CreditBalance"] | undefined,
  entries: readonly CreditEntry[],
): Burn {
  const today = dayOf(new Date().toISOString(), zone);
  const days = Array.from({ length: DAYS + 1 }, (_, index) => shift(today, index - DAYS));
  const since = startOfDay(days[0] ?? today, zone) ?? undefined;
  const until = startOfDay(today, zone) ?? undefined;
  const charges = query.useQuery(
    "get",
    "/api/v1/usage/series",
    { params: { query: { since, until, tz: zone, bucket: "day" } } },
    { placeholderData: keepPreviousData, staleTime: 60_000 },
  ).data;
  const balances = entries.map(({ at, balance }) => ({ at, balance: Number(creditsToMicroUsd(balance)) }));
  const ends = days.map((day) => startOfDay(nextDay(day), zone) ?? "");
  const past = balancesAt(balances, ends);
  if (charges === undefined || typeof charges === "string" || credits === undefined) {
    return { days, past, down: null };
  }
  const whole = charges.buckets.map((bucket, index) => ({
    weekday: weekdayOf(dayOf(bucket.start, charges.tz)),
    micro: charges.lines.reduce((total, line) => total + (line.points[index]?.charge_micro_usd ?? 0), 0),
  }));
  // Days before the first charge of all say nothing about how much the coming ones take.
  const first = whole.findIndex((day) => day.micro > 0);
  const known = first === -1 ? [] : whole.slice(first);
  const balance = Number(creditsToMicroUsd(credits.balance));
  return { days, past, down: burnDown(balance, known, weekdayOf(today)) };
}
