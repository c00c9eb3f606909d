/** Whether an alert rule can fire, in words. Pure. */

import type { Schemas } from "@/api/client";

export type Status = Schemas["AlertRuleStatus"];

interface StateInWords {
  readonly kind: "ok" | "warning" | "error" | "neutral";
  readonly text: string;
}

/** Return what the list says of a rule's state. */
export function stateInWords(status: Status): StateInWords {
  if (status.rule === null || status.rule === undefined) {
    return { kind: "error", text: "Unreadable" };
  }
  if (status.state === "off") {
    return { kind: "neutral", text: "Off" };
  }
  if (status.state === "broken") {
    return { kind: "error", text: isAboutNothing(status) ? "Watches nothing" : "Cannot fire" };
  }
  const open = status.open_alerts ?? 0;
  if (open === 0) {
    return { kind: "ok", text: "Watching" };
  }
  return { kind: "warning", text: open === 1 ? "Fired" : `Fired, ${open} open` };
}

/** Return why a rule cannot be edited; undefined if it can: its scope stays as it is, and what is missing is refused. */
export function whyFixed(status: Status): string | undefined {
  if (status.rule === null || status.rule === undefined) {
    return "This version cannot read its terms.";
  }
  return isAboutNothing(status) ? "What it watches does not exist: delete it and add another." : undefined;
}

function isAboutNothing({ missing }: Status): boolean {
  return (missing ?? []).length > 0;
}
