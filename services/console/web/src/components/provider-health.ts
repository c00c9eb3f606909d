/** What the health of single targets says about a provider, or about one of its addresses. */

import type { Schemas } from "@/api/client";
import type { StatusKind } from "@/ui";

export type TargetHealth = Schemas["TargetHealth"];
export type Condition = "healthy" | "degraded" | "down" | "unused";

/** The share of attempts below which an address with a closed circuit counts as degraded, and how many attempts that takes. */
const LEAST_SUCCESS_PERCENT = 95;
const LEAST_SAMPLES = 5;

export interface ProviderCondition {
  readonly condition: Condition;
  /** Since when, if something is wrong. */
  readonly since: string | null;
  /** Why, in the words of the health monitor; empty if nothing is wrong. */
  readonly reason: string;
}

export const CONDITION_WORDS: Record<Condition, string> = {
  healthy: "Healthy",
  degraded: "Degraded",
  down: "Down",
  unused: "Not used lately",
};

export const CONDITION_KINDS: Record<Condition, StatusKind> = {
  healthy: "ok",
  degraded: "warning",
  down: "error",
  unused: "neutral",
};

/** Return whether a target is one key's use of a model, which says nothing about the provider. */
export function isOfKey(health: TargetHealth): boolean {
  return (health.target.key_id ?? null) !== null;
}

/** Return whether requests are withheld from a target, or its attempts fail. */
function isTroubled(health: TargetHealth): boolean {
  const samples = health.samples ?? 0;
  const success = health.success_percent ?? 100;
  return (
    health.state === "open" ||
    health.state === "cooling" ||
    health.reachable === false ||
    (samples >= LEAST_SAMPLES && success < LEAST_SUCCESS_PERCENT)
  );
}

/** Return whether something shows that a target answers now: a closed circuit without attempts shows nothing. */
function answers(health: TargetHealth): boolean {
  return (
    health.state !== "open" && ((health.samples ?? 0) > (health.failures ?? 0) || health.reachable === true)
  );
}

/** Return the condition of an address from the health of its targets; those of single keys are ignored. */
export function conditionOf(targets: readonly TargetHealth[]): ProviderCondition {
  const counted = targets.filter((health) => !isOfKey(health));
  if (counted.length === 0) {
    return { condition: "unused", since: null, reason: "" };
  }
  const troubled = counted.filter(isTroubled);
  const first = troubled.toSorted((left, right) => left.changed_at.localeCompare(right.changed_at))[0];
  if (!first) {
    return { condition: "healthy", since: null, reason: "" };
  }
  const down = troubled.some((health) => health.state === "open") && !counted.some(answers);
  const cause = down ? (troubled.find((health) => health.state === "open") ?? first) : first;
  return { condition: down ? "down" : "degraded", since: first.changed_at, reason: reasonOf(cause) };
}

/** Return why a target is troubled, in one phrase. */
export function reasonOf(health: TargetHealth): string {
  if (health.state === "closed" && health.reachable !== false && (health.samples ?? 0) > 0) {
    return `${health.failures ?? 0} of ${health.samples ?? 0} attempts failed within five minutes`;
  }
  return health.reason;
}

/** Return the targets of a provider, or of one endpoint of a tenant if it is named. */
export function targetsOf(
  targets: readonly TargetHealth[],
  provider: string,
  endpoint: string | null = null,
): readonly TargetHealth[] {
  return targets.filter(({ target }) =>
    endpoint === null
      ? target.provider === provider && (target.endpoint ?? null) === null
      : target.endpoint === endpoint,
  );
}
