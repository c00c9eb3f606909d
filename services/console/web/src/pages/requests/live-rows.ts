/** Whether a request that has just been recorded belongs to the list. Pure. */

import type { LoggedAttempt, LoggedRequest } from "@/components/request-words";
import { decimalToMicroUsd, parseDollars } from "@/format/money";
import type { RequestFilters } from "./filters";

/** Return whether a request satisfies the filters, as the API decides it: one attempt has to satisfy all of them. */
export function matchesFilters(request: LoggedRequest, filters: RequestFilters): boolean {
  return matchesRequest(request, filters) && matchesSomeAttempt(request, filters);
}

function matchesRequest(request: LoggedRequest, filters: RequestFilters): boolean {
  return (
    unset(filters.outcome, request.outcome) &&
    unset(filters.operation, request.operation) &&
    unset(filters.team, request.team) &&
    unset(filters.member, request.member) &&
    unset(filters.client_token, request.client_token_id) &&
    (filters.tag === "" || hasTag(request, filters.tag)) &&
    (filters.text === "" || hasWords(request.error ?? "", filters.text)) &&
    (filters.id === "" || idsOf(request).some((id) => id.startsWith(filters.id)))
  );
}

function unset(wanted: string | null, value: string | null | undefined): boolean {
  return wanted === null || wanted === "" || wanted === value;
}

function idsOf(request: LoggedRequest): string[] {
  const attempts = request.attempts ?? [];
  return [
    request.request_id,
    request.decision_id,
    request.trace_id ?? "",
    ...attempts.flatMap((attempt) => [attempt.attempt_id, attempt.decision_id]),
  ];
}

function hasTag(request: LoggedRequest, tag: string): boolean {
  const tags: Record<string, unknown> = request.tags ?? {};
  const at = tag.indexOf("=");
  return at === -1 ? Object.hasOwn(tags, tag) : tags[tag.slice(0, at)] === tag.slice(at + 1);
}

function hasWords(error: string, words: string): boolean {
  const split = (text: string) =>
    text
      .toLowerCase()
      .split(/[^\p{L}\p{N}]+/u)
      .filter(Boolean);
  const present = new Set(split(error));
  return split(words).every((word) => present.has(word));
}

function matchesSomeAttempt(request: LoggedRequest, filters: RequestFilters): boolean {
  const attempts = request.attempts ?? [];
  if (attempts.length === 0) {
    return matchesRefused(request, filters);
  }
  return attempts.some((attempt) => matchesAttempt(request, attempt, filters));
}

function matchesRefused(request: LoggedRequest, filters: RequestFilters): boolean {
  return (
    unset(filters.error_class, request.error_class) &&
    unset(filters.model, request.model_asked) &&
    unset(filters.level, request.power_level) &&
    filters.provider === "" &&
    filters.key_source === null &&
    filters.key_id === "" &&
    filters.min_cost_usd === "" &&
    filters.min_latency_ms === 0
  );
}

function matchesAttempt(request: LoggedRequest, attempt: LoggedAttempt, filters: RequestFilters): boolean {
  const models = [request.model_asked, attempt.model, attempt.model_served];
  const least = filters.min_cost_usd === "" ? null : parseDollars(filters.min_cost_usd);
  return (
    unset(filters.error_class, attempt.error_class) &&
    unset(filters.provider, attempt.endpoint ?? attempt.provider) &&
    (filters.model === "" || models.includes(filters.model)) &&
    unset(filters.level, attempt.power_level) &&
    unset(filters.key_source, attempt.key_source) &&
    unset(filters.key_id, attempt.key_id) &&
    attempt.latency_ms >= filters.min_latency_ms &&
    (least === null || (attempt.cost_usd ? decimalToMicroUsd(attempt.cost_usd) >= least : false))
  );
}

/** Return the row with more attempts of two of the same request. */
export function newerOf(listed: LoggedRequest, arrived: LoggedRequest): LoggedRequest {
  return (arrived.attempts ?? []).length >= (listed.attempts ?? []).length ? arrived : listed;
}
