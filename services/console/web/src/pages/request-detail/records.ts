/** What the ledger has of one request, and in which state the request is. Pure. */

import type { Schemas } from "@/api/client";
import { FAILURE_WORDS, placeOf } from "@/components/request-words";
import { formatDuration } from "@/format/duration";
import { countOf } from "@/format/numbers";

export type RequestRecords = Schemas["RequestRecords"];
export type LedgerRow = Schemas["LedgerRow"];
export type DecisionRecord = Schemas["DecisionRecord"];

export type RequestState = "running" | "refused" | "completed" | "failed" | "cancelled" | "indeterminate";

/** Return the state of a request: it is running while a chosen attempt, or a decision after a failed one, is not recorded. */
export function stateOf(records: RequestRecords): RequestState {
  const last = records.decisions.at(-1);
  const recorded = new Set(records.attempts.map((row) => row.record.decision_id));
  const pending =
    last !== undefined && last.refusal === null && !last.attempt_refused && !recorded.has(last.decision_id);
  const attempt = records.attempts.at(-1)?.record;
  if (pending && attempt?.outcome !== "completed") {
    return "running";
  }
  if (!attempt) {
    return "refused";
  }
  return records.request?.outcome ?? attempt.outcome;
}

/** Return the time that the caller waited, in milliseconds: until the last attempt or decision ended. */
export function callerTime(records: RequestRecords): number | null {
  const steps = records.timeline.filter((step) => step.kind !== "recording");
  if (steps.length === 0) {
    return records.request?.latency_ms ?? null;
  }
  return Math.max(...steps.map((step) => step.offset_ms + step.duration_ms));
}

const ORDINALS = ["first", "second", "third", "fourth", "fifth"];

function ordinal(number: number): string {
  return ORDINALS[number - 1] ?? `${number}th`;
}

/** Return what happened, in one sentence. */
export function resultSentence(records: RequestRecords): string {
  const state = stateOf(records);
  const time = callerTime(records);
  const within = time === null ? "" : ` in ${formatDuration(time)}`;
  const count = records.attempts.length;
  const last = records.attempts.at(-1)?.record;
  const why = records.request?.error_class ? `: ${FAILURE_WORDS[records.request.error_class]}` : "";
  switch (state) {
    case "running":
      return count === 0
        ? "Still running, or not recorded yet. No attempt has ended so far."
        : `Still running, or not recorded yet. ${countOf(count, "attempt")} ended so far.`;
    case "refused":
      return `Refused before any attempt${why}.`;
    case "completed":
      return count === 1 ? `Succeeded${within}.` : `Succeeded on the ${ordinal(count)} attempt${within}.`;
    case "cancelled":
      return `Cancelled: the caller went away${within.replace(" in ", " after ")}.`;
    case "failed":
      return count === 1
        ? `Failed${within}${why}.`
        : `Failed after ${countOf(count, "attempt")}${within}${why}.`;
    case "indeterminate":
      return `How the call of ${last ? placeOf(last) : "the provider"} ended is not known${why}.`;
  }
}

/** Return whether another model or provider answered than the one that was tried first. */
export function fellBack(records: RequestRecords): boolean {
  const places = records.attempts.map((row) => placeOf(row.record));
  return new Set(places).size > 1;
}

const DIGITS = "0123456789abcdefghijklmnopqrstuv";
const SUFFIX = /^req_([0-9a-v]{26})$/;

/** Return when the id of a request was made, in milliseconds since 1970; null for another id. It is a UUIDv7 in base 32. */
export function timeOfId(id: string): number | null {
  const match = SUFFIX.exec(id);
  if (!match?.[1]) {
    return null;
  }
  let bits = 0n;
  for (const digit of match[1]) {
    bits = bits * 32n + BigInt(DIGITS.indexOf(digit));
  }
  return Number(bits >> 82n);
}
