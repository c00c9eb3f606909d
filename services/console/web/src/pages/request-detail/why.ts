/** The steps by which a model was chosen. Pure. */

import type { RequestRecords } from "./records";

type Explained = RequestRecords["explained"][number];
export type WhyStep = Explained["steps"][number];

export interface WhyDecision {
  readonly id: string;
  readonly attempt: number;
  /** The steps that differ from those of the decision before: a fallback looks at the same candidates again. */
  readonly steps: readonly WhyStep[];
}

/** Return the decisions in order, each with the steps that are new. */
export function whyDecisions(explained: readonly Explained[]): readonly WhyDecision[] {
  return explained.map((decision, index) => {
    const before = new Set((explained[index - 1]?.steps ?? []).map((step) => `${step.kind} ${step.text}`));
    const fresh = decision.steps.filter(
      (step) => step.kind === "chosen" || step.kind === "refused" || !before.has(`${step.kind} ${step.text}`),
    );
    return { id: decision.decision_id, attempt: decision.attempt_number, steps: fresh };
  });
}

/** Return a text with a capital letter at its beginning and a full stop at its end. */
export function asSentence(text: string): string {
  const begun = /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
