/** The status of a provider key in words: whether it is used, why not, and what to do. */

import type { Schemas } from "@/api/client";
import type { StatusKind } from "@/ui";

export type ProviderKey = Schemas["ProviderKey"];

export interface KeyState {
  readonly kind: StatusKind;
  readonly word: string;
  /** Why it is so; empty if there is nothing to say. */
  readonly reason: string;
  /** What to do about it; empty if there is nothing to do. */
  readonly fix: string;
}

const SOON_MS = 14 * 86_400_000;

/** Return the status of a key as people should read it. */
export function keyState(key: ProviderKey, now: Date = new Date()): KeyState {
  return unusable(key) ?? limited(key, now) ?? usable(key);
}

function unusable(key: ProviderKey): KeyState | null {
  const failed = failedStep(key);
  switch (key.status) {
    case "invalid":
      return {
        kind: "error",
        word: "Invalid",
        reason: failed || "The provider does not accept this key.",
        fix: "Rotate it to a key that works, or delete it.",
      };
    case "expired":
      return {
        kind: "error",
        word: "Expired",
        reason: "Its expiry date has passed.",
        fix: "Change the date, or rotate it.",
      };
    case "undecryptable":
      return {
        kind: "error",
        word: "Cannot be read",
        reason: "The vault cannot decrypt it.",
        fix: "Rotate it, or ask the operator to restore the encryption key.",
      };
    case "disabled":
      return {
        kind: "neutral",
        word: "Disabled",
        reason: "Somebody has disabled it.",
        fix: "Enable it to use it again.",
      };
    default:
      return key.paused
        ? {
            kind: "warning",
            word: "Paused",
            reason: "Own keys are off, or your plan includes fewer keys.",
            fix: "Ask the operator, or delete keys that are not needed.",
          }
        : null;
  }
}

function limited(key: ProviderKey, now: Date): KeyState | null {
  if (key.over_limit) {
    return {
      kind: "warning",
      word: "Over its limit",
      reason: "Its limit of this month is used up.",
      fix: "Raise the limit, or wait for the next month.",
    };
  }
  if (key.status === "degraded") {
    const noCredit = key.last_test?.steps.some((step) => step.step === "credit" && step.passed === false);
    return {
      kind: "warning",
      word: noCredit ? "No credit" : "Degraded",
      reason: failedStep(key) || "The provider accepts it, but something is missing.",
      fix: noCredit
        ? "Add credit at the provider, then test the key."
        : "See the last test; other keys are used first.",
    };
  }
  if (key.last_test?.failure_class === "rate_limit") {
    return {
      kind: "warning",
      word: "Rate-limited",
      reason: "The last test was rate-limited by the provider.",
      fix: "Test it again later, or add a second key.",
    };
  }
  if (key.credit_low) {
    return {
      kind: "warning",
      word: "Credit is low",
      reason: "Little credit is left at the provider.",
      fix: "Add credit at the provider.",
    };
  }
  if (key.expires_at && new Date(key.expires_at).getTime() - now.getTime() < SOON_MS) {
    return {
      kind: "warning",
      word: "Expires soon",
      reason: "It is not used any more after its expiry date.",
      fix: "Rotate it, or change the date.",
    };
  }
  return null;
}

function usable(key: ProviderKey): KeyState {
  if (key.status === "untested") {
    return {
      kind: "info",
      word: "Untested",
      reason: "It was saved without a test that had a result.",
      fix: "Test it now.",
    };
  }
  if (key.rotation_due) {
    return {
      kind: "ok",
      word: "Valid",
      reason: "Its secret is old.",
      fix: "Create a new key at the provider and rotate.",
    };
  }
  return { kind: "ok", word: "Valid", reason: "", fix: "" };
}

/** Return what the first step says that the last test did not pass; empty if all passed. */
export function failedStep(key: ProviderKey): string {
  const step = key.last_test?.steps.find((each) => each.passed === false);
  return step ? capitalize(step.detail) : "";
}

/** Return the text with a capital at its beginning, unless it begins with an address. */
export function capitalize(text: string): string {
  return /^https?:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

export const STEP_NAMES: Record<Schemas["KeyTestStep"], string> = {
  reachable: "Reachable",
  accepted: "Key accepted",
  credit: "Has credit",
  model: "A model answers",
};

export const STATUS_NAMES: Record<Schemas["KeyStatus"], string> = {
  valid: "Valid",
  degraded: "Degraded",
  invalid: "Invalid",
  untested: "Untested",
  expired: "Expired",
  disabled: "Disabled",
  undecryptable: "Cannot be read",
};
