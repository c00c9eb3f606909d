/** Whether a client token is accepted now, in words. Pure. */

import type { Schemas } from "@/api/client";
import { formatCount } from "@/format/numbers";
import type { StatusKind } from "@/ui";

export type ClientToken = Schemas["ClientToken"];
export type TokenState = "active" | "disabled" | "expired" | "revoked";

export const STATE_NAMES: Record<TokenState, string> = {
  active: "Active",
  disabled: "Disabled",
  expired: "Expired",
  revoked: "Deleted",
};

export const STATE_KINDS: Record<TokenState, StatusKind> = {
  active: "ok",
  disabled: "neutral",
  expired: "warning",
  revoked: "neutral",
};

/** Return the state of a token. */
export function stateOf(token: ClientToken, now: Date = new Date()): TokenState {
  if (token.revoked_at) {
    return "revoked";
  }
  if (token.expires_at && new Date(token.expires_at) <= now) {
    return "expired";
  }
  return token.disabled_at ? "disabled" : "active";
}

type Limit = number | "unlimited" | null | undefined;

export interface EffectiveLimit {
  readonly name: string;
  /** What holds, such as `20`; `none` if nothing limits it. */
  readonly value: string;
  /** Whose limit it is. */
  readonly source: "token" | "tenant" | "plan" | "none";
}

const LIMITS = [
  ["rpm", "Requests per minute"],
  ["tpm", "Tokens per minute"],
  ["concurrency", "At the same time"],
] as const;

/** Return the limit that is reached first for each kind: a token's own never widens the tenant's. */
export function effectiveLimits(
  own: Schemas["Limits"] | null | undefined,
  tier: Schemas["Limits"] | null | undefined,
): readonly EffectiveLimit[] {
  return LIMITS.map(([key, name]) => {
    const ownLimit = number(own?.[key]);
    const planLimit = number(tier?.[key]);
    if (ownLimit !== null && (planLimit === null || ownLimit <= planLimit)) {
      return { name, value: formatCount(ownLimit), source: "token" };
    }
    return planLimit === null
      ? { name, value: "none", source: "none" }
      : { name, value: formatCount(planLimit), source: "plan" };
  });
}

function number(limit: Limit): number | null {
  return typeof limit === "number" ? limit : null;
}

/** Return in short what a token may do; empty if nothing limits it. */
export function scopeOf(token: ClientToken): readonly string[] {
  const parts: [string, readonly string[] | null | undefined][] = [
    ["models", token.allowed_models],
    ["operations", token.allowed_operations],
    ["APIs", token.allowed_apis],
    ["origins", token.allowed_origins],
  ];
  return parts.flatMap(([name, values]) =>
    values && values.length > 0 ? [`${name}: ${values.join(", ")}`] : [],
  );
}
