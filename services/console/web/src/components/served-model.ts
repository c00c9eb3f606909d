/** Which model served a request, and why it is not the one that was asked for. */

import { FAILURE_WORDS, type LoggedRequest } from "./request-words";

export interface ServedModel {
  readonly asked: string;
  /** The model of the last attempt; null if there was none. */
  readonly served: string | null;
  /** Why they differ; null if they do not. */
  readonly cause: string | null;
}

/** Return the model that was asked for, the one that served, and the cause of a difference. */
export function servedModel(request: LoggedRequest): ServedModel {
  const attempts = request.attempts ?? [];
  const first = attempts[0];
  const last = attempts.at(-1);
  const asked = request.model_asked;
  if (!first || !last) {
    return { asked, served: null, cause: null };
  }
  const moved =
    last.model !== first.model || last.provider !== first.provider || last.endpoint !== first.endpoint;
  if (moved) {
    const why = first.error_class ? ` after ${FAILURE_WORDS[first.error_class]}` : "";
    return { asked, served: last.model, cause: `fallback${why}` };
  }
  if (sameModel(asked, last)) {
    return {
      asked,
      served: reportedName(last),
      cause: reportedName(last) === last.model ? null : "name at the provider",
    };
  }
  const level = last.power_level ?? request.power_level;
  if (level) {
    return { asked, served: last.model, cause: `power level ${level}` };
  }
  return { asked, served: last.model, cause: "alias or rule" };
}

/** Return the name that the provider reports, unless it is only a dated version of the one that was called. */
function reportedName(attempt: { model: string; model_served?: string | null }): string {
  const reported = attempt.model_served;
  return !reported || reported.startsWith(attempt.model) || attempt.model.endsWith(reported)
    ? attempt.model
    : reported;
}

function sameModel(
  asked: string,
  attempt: { model: string; provider: string; endpoint?: string | null },
): boolean {
  return (
    asked === attempt.model ||
    asked === `${attempt.provider}/${attempt.model}` ||
    asked === `${attempt.endpoint}/${attempt.model}`
  );
}
