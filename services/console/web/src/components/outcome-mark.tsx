import { StatusMark } from "@/ui";
import {
  FAILURE_WORDS,
  type FailureClass,
  OUTCOME_KINDS,
  OUTCOME_WORDS,
  type RequestOutcome,
} from "./request-words";

interface OutcomeMarkProps {
  outcome: RequestOutcome;
  /** Why it failed; said instead of "Failed", where it is known. */
  errorClass?: FailureClass | null | undefined;
}

/** Show how a request ended. */
export function OutcomeMark({ outcome, errorClass }: OutcomeMarkProps) {
  const words =
    errorClass && outcome === "failed" ? capitalized(FAILURE_WORDS[errorClass]) : OUTCOME_WORDS[outcome];
  return <StatusMark kind={OUTCOME_KINDS[outcome]}>{words}</StatusMark>;
}

function capitalized(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
