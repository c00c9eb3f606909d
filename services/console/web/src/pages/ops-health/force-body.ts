/** The body that forces circuits, from what an operator has chosen. Pure. */

import type { Schemas } from "@/api/client";
import type { HealthGroup } from "@/components/health-groups";

export type ForceBody = Schemas["ForceBody"];
export type Override = Schemas["Override"];

export const DURATIONS = [
  { value: "600", label: "10 minutes" },
  { value: "3600", label: "1 hour" },
  { value: "14400", label: "4 hours" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
] as const;

export interface ForceForm {
  readonly state: "open" | "closed";
  /** Empty for all models of the address. */
  readonly model: string;
  readonly seconds: string;
  readonly reason: string;
}

export const EMPTY_FORM: ForceForm = { state: "open", model: "", seconds: "600", reason: "" };

/** Return the body; null while no reason is given. */
export function forceBody(group: HealthGroup, form: ForceForm): ForceBody | null {
  const reason = form.reason.trim();
  if (reason === "") {
    return null;
  }
  return {
    provider: group.provider,
    endpoint: group.endpoint,
    tenant: group.endpoint === null ? null : group.tenant,
    model: form.model === "" ? null : form.model,
    state: form.state,
    for_seconds: Number(form.seconds),
    reason,
  };
}

/** Return the overrides that hold for an address. */
export function overridesOf(overrides: readonly Override[], group: HealthGroup): readonly Override[] {
  return overrides.filter((each) =>
    group.endpoint === null
      ? each.provider === group.provider && (each.endpoint ?? null) === null
      : each.endpoint === group.endpoint && (each.tenant ?? null) === group.tenant,
  );
}
