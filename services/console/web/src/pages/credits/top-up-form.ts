/** The form of the automatic top-up: what somebody types, and the terms that it means. Pure. */

import type { Schemas } from "@/api/client";
import { parseDollars } from "@/format/money";

type TopUp = Schemas["TopUp"];
export type TopUpState = TopUp["state"];

export interface TopUpForm {
  readonly enabled: boolean;
  readonly threshold: string;
  readonly price: string;
  readonly ceiling: string;
  readonly consent: boolean;
}

export type TopUpErrors = Partial<Record<"threshold" | "price" | "ceiling" | "consent", string>>;

const CREDITS = /^\d{1,12}(\.\d{1,3})?$/;
const CENT = 10_000n;

export const TOP_UP_WORDS: Record<TopUpState, string> = {
  off: "Off",
  needs_payment_method: "Needs a payment method",
  active: "Waits until credits are low",
  charging: "Pays now",
  retrying: "A payment failed and is tried again",
  ceiling_reached: "The monthly ceiling is reached",
  paused: "Paused",
};

export const TOP_UP_KINDS = {
  off: "neutral",
  needs_payment_method: "warning",
  active: "ok",
  charging: "neutral",
  retrying: "warning",
  ceiling_reached: "warning",
  paused: "error",
} as const satisfies Record<TopUpState, string>;

/** Return the form for what is saved; consent is given anew with each change. */
export function formOf(saved: TopUp): TopUpForm {
  const fresh = saved.revision === 0;
  return {
    enabled: saved.enabled ?? false,
    threshold: fresh ? "5000" : (saved.threshold ?? ""),
    price: fresh ? "50" : (saved.price_usd ?? ""),
    ceiling: fresh ? "200" : (saved.monthly_ceiling_usd ?? ""),
    consent: false,
  };
}

/** Return the body of the request for a form, or what is wrong with it. */
export function readForm(
  form: TopUpForm,
  revision: number,
): { body: Schemas["TopUpBody"] } | { errors: TopUpErrors } {
  const errors: TopUpErrors = {};
  const threshold = form.threshold.replaceAll(",", "").trim();
  const price = dollars(form.price);
  const ceiling = dollars(form.ceiling);
  if (!CREDITS.test(threshold)) {
    errors.threshold = "Credits as a number, such as 5000";
  }
  if (price === null) {
    errors.price = "Dollars with at most two places, such as 50";
  }
  if (ceiling === null) {
    errors.ceiling = "Dollars with at most two places, such as 200";
  } else if (price !== null && BigInt(ceiling.replace(".", "")) < BigInt(price.replace(".", ""))) {
    errors.ceiling = "At least one payment";
  }
  if (form.enabled && !form.consent) {
    errors.consent = "Needed: the payment method is charged without asking again";
  }
  if (price === null || ceiling === null || Object.keys(errors).length > 0) {
    return { errors };
  }
  return {
    body: {
      enabled: form.enabled,
      threshold,
      price_usd: price,
      monthly_ceiling_usd: ceiling,
      consent: form.consent,
      revision: revision === 0 ? null : revision,
    },
  };
}

/** Return typed dollars with two places; null if they are no amount of whole cents above zero. */
function dollars(typed: string): string | null {
  const micro = parseDollars(typed);
  if (micro === null || micro <= 0n || micro % CENT !== 0n) {
    return null;
  }
  const cents = micro / CENT;
  return `${cents / 100n}.${(cents % 100n).toString().padStart(2, "0")}`;
}
