import type { Schemas } from "@/api/client";
import type { StatusKind } from "@/ui";

type Report = Pick<Schemas["ServiceReport"], "ready" | "waiting_for" | "degraded">;

/** Return how a process is, in a word and its reasons. */
export function serviceState(report: Report): {
  kind: StatusKind;
  words: string;
  details: readonly string[];
} {
  if (!report.ready) {
    const details = report.waiting_for.length > 0 ? [`waiting for ${report.waiting_for.join(", ")}`] : [];
    return { kind: "error", words: "Not ready", details };
  }
  const degraded = report.degraded ?? [];
  return degraded.length > 0
    ? { kind: "warning", words: "Degraded", details: degraded }
    : { kind: "ok", words: "Ready", details: [] };
}

/** Return one sentence about all processes. */
export function summarize(reports: readonly Report[]): string {
  const [all, ready] = [reports.length, reports.filter((report) => report.ready).length];
  const degraded = reports.filter((report) => report.ready && (report.degraded ?? []).length > 0).length;
  if (all === 0) {
    return "No process answers on the bus.";
  }
  const state = ready === all ? `All ${all} processes are ready` : `${ready} of ${all} processes are ready`;
  return degraded === 0 ? `${state}.` : `${state}, ${degraded} of them with a restriction.`;
}

/** Return the figures of a process in words. Addresses are left out: operators know them, and screenshots travel. */
export function factWords(facts: Record<string, unknown> | undefined): string {
  return Object.entries(facts ?? {})
    .filter(([name]) => name !== "url")
    .sort(([one], [other]) => one.localeCompare(other))
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${String(value)}`)
    .join(", ");
}
