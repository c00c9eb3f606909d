/** What to do about a failure, by its class and by whose key it was. Pure. */

import type { FailureClass, KeySource } from "@/components/request-words";

type HintFor = (own: boolean) => string;

const HINTS: Partial<Record<FailureClass, HintFor>> = {
  auth: (own) =>
    own
      ? "Test the key on its page, and rotate it if the provider has revoked it."
      : "An operator has to renew this key.",
  quota: (own) =>
    own
      ? "Add credit at the provider, or a second key for it."
      : "The operators of the gateway have to add credit there.",
  rate_limit: (own) =>
    own
      ? "Raise the limit at the provider, add a second key, or allow a fallback model."
      : "Send fewer requests at a time, or add a key of your own.",
  overloaded: () => "Nothing to do: the gateway tries again, then another model if a fallback is allowed.",
  context_length: () => "Shorten the prompt, or choose a model with a larger context.",
  content_filter: () => "The provider refuses this content. Change the prompt, or choose another provider.",
  not_found: () => "Check the name of the model; the model catalog lists what can be called.",
  bad_request: () => "Change the request: the provider would refuse it again.",
  timeout: () => "Allow more time in the routing rule, or put a faster model first.",
  server: () => "Nothing to do for a single failure. Provider health shows whether there are more.",
  truncated: () => "Raise the maximum of output tokens.",
  unreachable: (own) =>
    own ? "Check that the server runs and that its address is right." : "Provider health shows since when.",
  policy: () => "Change the privacy and region settings or the routing rule that forbids it.",
  limit: () => "Wait for the next minute, or raise the limit of the client token or the tenant.",
  credit: () => "Top up credits, or add a provider key of your own.",
  budget: () => "Raise the budget, or wait until it starts again.",
  unavailable: () => "Add a key or a fallback model: no candidate was left.",
  expired: () => "Allow more time for the request, or choose a faster model.",
  indeterminate: () => "Check with the provider whether it was answered before you send it again.",
  internal: () => "Send the support bundle to the operators of the gateway.",
};

/** Return what to do about a failure; null if there is nothing to say. */
export function fixHint(failure: FailureClass, source: KeySource): string | null {
  return HINTS[failure]?.(source === "byok" || source === "custom") ?? null;
}
