/** The rows of a trace: its spans, and the moments within them. Pure. */

import type { Schemas } from "@/api/client";
import { formatMicroseconds } from "@/format/duration";
import { countOf } from "@/format/numbers";

export type Trace = Schemas["TraceView"];
export type Span = Schemas["SpanRow"];

export interface TraceRow {
  readonly id: string;
  readonly name: string;
  readonly service: string;
  /** The span itself; null for a moment within the span before. */
  readonly span: Span | null;
  readonly start: number;
  readonly duration: number;
  readonly depth: number;
  readonly status: "error" | "info" | "neutral";
  readonly text: string;
}

const MOST_EVENTS = 8;

/** Return the rows of at most `most` spans, in milliseconds. */
export function traceRows(trace: Trace, most: number): readonly TraceRow[] {
  return trace.rows.slice(0, most).flatMap((span) => [spanRow(span), ...momentRows(span)]);
}

function spanRow(span: Span): TraceRow {
  return {
    id: span.span_id,
    name: span.name,
    service: span.service,
    span,
    start: span.offset_us / 1000,
    duration: span.duration_us / 1000,
    depth: span.depth,
    status: span.error ? "error" : span.kind === "client" ? "info" : "neutral",
    text: formatMicroseconds(span.duration_us),
  };
}

function momentRows(span: Span): readonly TraceRow[] {
  return span.events.slice(0, MOST_EVENTS).map((event, index) => ({
    id: `${span.span_id}-${index}`,
    name: event.name.replace(/^gen_ai\./, "").replaceAll("_", " "),
    service: "",
    span: null,
    start: event.offset_us / 1000,
    duration: 0,
    depth: span.depth + 1,
    status: span.error ? "error" : "info",
    text: `after ${formatMicroseconds(Math.max(0, event.offset_us - span.offset_us))}`,
  }));
}

/** Return what there is, in one sentence. */
export function traceSentence(trace: Trace): string {
  const services = new Set(trace.rows.map((row) => row.service)).size;
  const failed = trace.rows.filter((row) => row.error).length;
  const spans = `${countOf(trace.rows.length, "span")} of ${countOf(services, "service")}`;
  const failures = failed === 0 ? "" : `, ${failed} failed`;
  return `${spans} in ${formatMicroseconds(trace.duration_us)}${failures}.`;
}

/** Return the processes whose spans are shown later than their clocks said, each with the time in words. */
export function slowClocks(trace: Trace): readonly string[] {
  const moved = new Map(
    trace.rows.filter((row) => row.moved_us >= 1000).map((row) => [row.instance_id, row.moved_us]),
  );
  return [...moved].map(([instance, by]) => `${instance} (${formatMicroseconds(by)})`);
}

/** Return the attributes of a span as names and values, by name. */
export function attributesOf(span: Span): readonly (readonly [string, string])[] {
  return Object.entries(span.attributes)
    .map(([name, value]) => [name, String(value)] as const)
    .sort(([one], [other]) => (one < other ? -1 : 1));
}
