/** What a request is, in words: its outcome, its failure, whose key served it. */

import type { Schemas } from "@/api/client";
import type { StatusKind } from "@/ui";

export type LoggedRequest = Schemas["LoggedRequest"];
export type LoggedAttempt = Schemas["LoggedAttempt"];
export type RequestOutcome = Schemas["RequestOutcome"];
export type FailureClass = Schemas["FailureClass"];
export type KeySource = Schemas["KeySource"];

export const OUTCOME_WORDS: Record<RequestOutcome, string> = {
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  indeterminate: "End unknown",
  refused: "Refused",
};

export const OUTCOME_KINDS: Record<RequestOutcome, StatusKind> = {
  completed: "ok",
  failed: "error",
  cancelled: "neutral",
  indeterminate: "warning",
  refused: "warning",
};

export const FAILURE_WORDS: Record<FailureClass, string> = {
  auth: "key not accepted",
  quota: "no credit at the provider",
  rate_limit: "rate limit",
  overloaded: "provider overloaded",
  context_length: "prompt too long",
  content_filter: "content filter",
  not_found: "not found",
  bad_request: "invalid request",
  timeout: "timeout",
  server: "provider error",
  truncated: "answer cut off",
  unreachable: "not reachable",
  policy: "not allowed by policy",
  limit: "limit of the gateway",
  credit: "no credit",
  budget: "budget spent",
  unavailable: "nothing available",
  expired: "took too long",
  cancelled: "caller went away",
  indeterminate: "end unknown",
  internal: "gateway error",
};

export const KEY_SOURCE_WORDS: Record<KeySource, string> = {
  platform: "Platform key",
  byok: "Own key",
  custom: "Own server",
  none: "No key",
};

export const LEVEL_WORDS: Record<Schemas["PowerLevel"], string> = {
  eco: "Eco",
  balanced: "Balanced",
  precision: "Precision",
};

/** Return the name of where an attempt went: the own server, or the provider, with the model. */
export function placeOf(attempt: { provider: string; endpoint?: string | null; model: string }): string {
  return `${attempt.endpoint ?? attempt.provider}/${attempt.model}`;
}
