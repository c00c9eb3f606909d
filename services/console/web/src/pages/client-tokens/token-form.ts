/** What a client token may do as a form, and the bodies that it makes. Pure. */

import type { Schemas } from "@/api/client";
import type { ClientToken } from "@/components/client-tokens/token-state";
import { toLocalInput } from "@/components/provider-keys/settings";

export interface TokenForm {
  readonly label: string;
  readonly expires: string;
  readonly models: readonly string[];
  readonly operations: readonly string[];
  readonly apis: readonly Schemas["ClientApi"][];
  readonly origins: readonly string[];
  /** Null for no limit of its own. */
  readonly rpm: number | null;
  readonly tpm: number | null;
  readonly concurrency: number | null;
  readonly team: string | null;
  readonly member: string | null;
}

export const EMPTY_TOKEN: TokenForm = {
  label: "",
  expires: "",
  models: [],
  operations: [],
  apis: [],
  origins: [],
  rpm: null,
  tpm: null,
  concurrency: null,
  team: null,
  member: null,
};

/** Return the form of a stored token. */
export function formOf(token: ClientToken): TokenForm {
  return {
    label: token.label,
    expires: toLocalInput(token.expires_at),
    models: token.allowed_models ?? [],
    operations: token.allowed_operations ?? [],
    apis: token.allowed_apis ?? [],
    origins: token.allowed_origins ?? [],
    rpm: limit(token.limits?.rpm),
    tpm: limit(token.limits?.tpm),
    concurrency: limit(token.limits?.concurrency),
    team: token.team ?? null,
    member: token.member ?? null,
  };
}

function limit(value: number | "unlimited" | null | undefined): number | null {
  return typeof value === "number" ? value : null;
}

function some<T>(values: readonly T[]): T[] | null {
  return values.length === 0 ? null : [...values];
}

function moment(local: string): string | null {
  return local === "" ? null : new Date(local).toISOString();
}

/** Return the body that creates a token. */
export function createBody(form: TokenForm): Schemas["CreateTokenBody"] {
  const limits = { rpm: form.rpm, tpm: form.tpm, concurrency: form.concurrency };
  return {
    label: form.label.trim(),
    expires_at: moment(form.expires),
    allowed_models: some(form.models),
    allowed_operations: some(form.operations),
    allowed_apis: some(form.apis),
    allowed_origins: some(form.origins),
    limits: Object.values(limits).some((value) => value !== null) ? limits : null,
    team: form.team,
    member: form.member,
  };
}

/** Return only what differs, so that somebody else's change of another field stays. */
export function updateBody(before: TokenForm, now: TokenForm): Schemas["UpdateTokenBody"] {
  const body: Schemas["UpdateTokenBody"] = {};
  if (now.label !== before.label) {
    body.label = now.label.trim();
  }
  if (now.expires !== before.expires) {
    body.expires_at = moment(now.expires);
  }
  if (differ(now.models, before.models)) {
    body.allowed_models = some(now.models);
  }
  if (differ(now.operations, before.operations)) {
    body.allowed_operations = some(now.operations);
  }
  if (differ(now.apis, before.apis)) {
    body.allowed_apis = some(now.apis);
  }
  if (differ(now.origins, before.origins)) {
    body.allowed_origins = some(now.origins);
  }
  const limits: Schemas["LimitChanges"] = {};
  for (const name of ["rpm", "tpm", "concurrency"] as const) {
    if (now[name] !== before[name]) {
      limits[name] = now[name] ?? "default";
    }
  }
  return Object.keys(limits).length === 0 ? body : { ...body, limits };
}

function differ(now: readonly string[], before: readonly string[]): boolean {
  return now.join("\n") !== before.join("\n");
}
