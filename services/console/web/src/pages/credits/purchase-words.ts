/** What the states of a purchase mean for the person who pays, and when the page asks again. Pure. */

import type { Schemas } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { parseDollars } from "@/format/money";
import type { StatusKind } from "@/ui";

type Purchase = Schemas["Purchase"];
export type PurchaseState = Purchase["state"];

/** How long the page waits for a live event before it asks, and between its questions. */
export const POLL_MS = 10_000;
/** After so long the page shows how to report credits that are missing. */
export const SUPPORT_AFTER_MS = 60_000;
const MICRO_PER_CENT = 10_000n;

export const STATE_WORDS: Record<PurchaseState, string> = {
  opening: "not begun",
  open: "not paid yet",
  processing: "on its way",
  paid: "paid, adding credits",
  credited: "credited",
  expired: "expired",
  failed: "failed",
  cancelled: "cancelled",
};

export interface PurchaseNotice {
  readonly kind: StatusKind;
  readonly title: string;
  readonly text: string;
  /** Whether something is still expected to happen. */
  readonly waiting: boolean;
}

/** Return the notice for somebody who comes back from Stripe's page: `cancelled` if they left it without paying. */
export function noticeOf(purchase: Purchase, cancelled: boolean): PurchaseNotice {
  const credits = `${formatCredits(purchase.credits)} credits`;
  switch (purchase.state) {
    case "credited":
      return { kind: "ok", title: "Payment received", text: `${credits} were added.`, waiting: false };
    case "paid":
      return {
        kind: "neutral",
        title: "Payment received, adding credits",
        text: `${credits} are being added. You need not stay on this page.`,
        waiting: true,
      };
    case "processing":
      return {
        kind: "neutral",
        title: "The payment is on its way",
        text: `Some payment methods take days. ${credits} are added as soon as the money arrives.`,
        waiting: true,
      };
    case "expired":
      return {
        kind: "warning",
        title: "The payment page has expired",
        text: "Nothing was charged.",
        waiting: false,
      };
    case "failed":
      return {
        kind: "error",
        title: "The payment failed",
        text: `${purchase.reason ?? "The bank gave no reason."} Nothing was charged.`,
        waiting: false,
      };
    case "cancelled":
      return {
        kind: "warning",
        title: "The payment was cancelled",
        text: "Nothing was charged.",
        waiting: false,
      };
    default:
      return cancelled
        ? {
            kind: "warning",
            title: "You left the payment page",
            text: "Nothing was charged. You can go on paying, or close the page for good.",
            waiting: false,
          }
        : {
            kind: "neutral",
            title: "Waiting for Stripe",
            text: "Stripe has not reported the payment yet.",
            waiting: true,
          };
  }
}

/** Return after how many milliseconds to ask for a purchase again; false if nothing more is expected. */
export function pollAfter(purchase: Purchase | undefined, cancelled: boolean): number | false {
  return purchase !== undefined && noticeOf(purchase, cancelled).waiting ? POLL_MS : false;
}

/** Return the amount that somebody typed in dollars with two places, or what is wrong with it. */
export function readAmount(
  typed: string,
  bounds: { from_usd: string; to_usd: string },
): { amount: string } | { problem: string } {
  const micro = parseDollars(typed);
  const [least, most] = [parseDollars(bounds.from_usd) ?? 0n, parseDollars(bounds.to_usd) ?? 0n];
  if (micro === null || micro % MICRO_PER_CENT !== 0n) {
    return { problem: "Dollars with at most two places, such as 25 or 12.50" };
  }
  if (micro < least || micro > most) {
    return { problem: `From $${bounds.from_usd} to $${bounds.to_usd}` };
  }
  const cents = micro / MICRO_PER_CENT;
  return { amount: `${cents / 100n}.${(cents % 100n).toString().padStart(2, "0")}` };
}

/** Return the credits that an amount without a package buys: 1000 a dollar. */
export function creditsFor(amount: string): string {
  return formatCredits(((parseDollars(amount) ?? 0n) / 1000n).toString());
}
