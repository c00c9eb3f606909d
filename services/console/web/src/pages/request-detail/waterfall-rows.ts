/** The rows of the waterfall of a request. Pure. */

import type { Schemas } from "@/api/client";
import { KEY_SOURCE_WORDS, placeOf } from "@/components/request-words";
import { formatDuration } from "@/format/duration";
import { decimalToMicroUsd, formatExact } from "@/format/money";
import { countOf, formatCount } from "@/format/numbers";
import type { LedgerRow, RequestRecords } from "./records";

type Step = Schemas["TimelineStep"];

export interface StepRow {
  readonly id: string;
  readonly label: string;
  readonly start: number;
  readonly duration: number;
  readonly status: "ok" | "error" | "warning" | "neutral" | "info";
  readonly depth: 0 | 1 | 2;
  readonly text: string;
}

const ATTEMPT_STATUS = {
  completed: "ok",
  failed: "error",
  cancelled: "neutral",
  indeterminate: "warning",
} as const;

/** Return the rows of a request in the order of time, and how long all of it took. */
export function waterfallRows(
  records: RequestRecords,
  names: ReadonlyMap<string, string>,
): { rows: readonly StepRow[]; total: number } {
  const rows = records.timeline.flatMap((step, index) =>
    isWorthARow(step, records) ? rowsOf(step, `${index}`, records, names) : [],
  );
  const total = Math.max(1, ...records.timeline.map((step) => step.offset_ms + step.duration_ms));
  return { rows, total };
}

const LEAST_HANDOVER_MS = 5;

/** Return whether a step says something: a short handover, and the record of an attempt that cost nothing, do not. */
function isWorthARow(step: Step, records: RequestRecords): boolean {
  if (step.kind === "handover") {
    return step.duration_ms >= LEAST_HANDOVER_MS;
  }
  if (step.kind === "recording") {
    const row = records.attempts.find((each) => each.record.attempt_id === step.attempt_id);
    return row === records.attempts.at(-1) || !row?.cost_usd || Number(row.cost_usd) > 0;
  }
  return true;
}

function rowsOf(
  step: Step,
  id: string,
  records: RequestRecords,
  names: ReadonlyMap<string, string>,
): StepRow[] {
  const place = {
    id,
    start: step.offset_ms,
    duration: step.duration_ms,
    text: formatDuration(step.duration_ms),
  };
  const ledger = records.attempts.find((row) => row.record.attempt_id === step.attempt_id);
  switch (step.kind) {
    case "received":
      return [{ ...place, label: "ingress: authenticate, read the request", status: "neutral", depth: 0 }];
    case "routing":
      return [{ ...place, label: routingLabel(step, records), status: "info", depth: 0 }];
    case "backoff":
      return [{ ...place, label: `wait: ${step.detail || "backoff"}`, status: "neutral", depth: 1 }];
    case "handover":
      return [{ ...place, label: "handover to a worker", status: "neutral", depth: 1 }];
    case "recording":
      return [{ ...place, label: recordingLabel(ledger), status: "neutral", depth: 0 }];
    case "attempt":
      return attemptRows(step, place, ledger, names);
  }
}

function attemptRows(
  step: Step,
  place: Pick<StepRow, "id" | "start" | "duration" | "text">,
  ledger: LedgerRow | undefined,
  names: ReadonlyMap<string, string>,
): StepRow[] {
  const record = ledger?.record;
  const key = record
    ? ` · ${names.get(record.key_id ?? "") ?? KEY_SOURCE_WORDS[record.key_source].toLowerCase()}`
    : "";
  const label = `attempt ${step.attempt_number} · ${record ? placeOf(record) : step.detail}${key}`;
  const status = step.outcome ? ATTEMPT_STATUS[step.outcome] : "info";
  const attempt: StepRow = { ...place, label, status, depth: 1 };
  const first = step.first_token_ms;
  if (first === null || first === undefined) {
    return [attempt];
  }
  return [
    attempt,
    {
      id: `${place.id}-first`,
      label: "first token",
      start: step.offset_ms + first,
      duration: 0,
      status,
      depth: 2,
      text: `after ${formatDuration(first)}`,
    },
  ];
}

function routingLabel(step: Step, records: RequestRecords): string {
  const decision = records.decisions.find((each) => each.decision_id === step.decision_id);
  if (!decision) {
    return "router: choose a model";
  }
  const kept = decision.candidates.filter((candidate) => candidate.kept).length;
  const what = step.attempt_number === 1 ? "limits, hold" : `after attempt ${step.attempt_number - 1}`;
  return `router: ${what}, ${countOf(decision.candidates.length, "candidate")}, ${kept} kept`;
}

function recordingLabel(row: LedgerRow | undefined): string {
  if (!row) {
    return "ledger: record the attempt";
  }
  const usage = row.record.token_usage ?? {};
  const outgoing =
    (usage.output ?? 0) + (usage.reasoning ?? 0) + (usage.audio_output ?? 0) + (usage.image_output ?? 0);
  const all = Object.values(usage).reduce((sum: number, count) => sum + (count ?? 0), 0);
  const cost = row.cost_usd ? formatExact(decimalToMicroUsd(row.cost_usd)) : "cost unknown";
  return `ledger: ${formatCount(all - outgoing)} in + ${formatCount(outgoing)} out = ${cost}`;
}
