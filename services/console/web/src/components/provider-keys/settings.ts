/** The settings of a key as a form, and the changes that are sent. Pure. */

import type { Schemas } from "@/api/client";
import { parseDollars } from "@/format/money";
import type { ProviderKey } from "./key-status";

export interface KeySettings {
  readonly label: string;
  readonly priority: number;
  readonly weight: number;
  readonly models: readonly string[];
  readonly limit: string;
  /** As an input of the type `datetime-local` has it. */
  readonly expires: string;
  readonly team: string | null;
  readonly member: string | null;
  readonly name: string;
}

/** Return an amount that somebody has typed as a decimal number of dollars; null if it is none. */
export function decimalDollars(text: string): string | null {
  const micro = parseDollars(text);
  if (micro === null) {
    return null;
  }
  const fraction = String(micro % 1_000_000n)
    .padStart(6, "0")
    .replace(/0+$/, "");
  return `${micro / 1_000_000n}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Return a moment as an input of the type `datetime-local` shows it, in the zone of the browser. */
export function toLocalInput(iso: string | null | undefined): string {
  if (!iso) {
    return "";
  }
  const date = new Date(iso);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}

/** Return the settings of a stored key. */
export function settingsOf(key: ProviderKey): KeySettings {
  return {
    label: key.label,
    priority: key.priority ?? 100,
    weight: key.weight ?? 1,
    models: key.allowed_models ?? [],
    limit: key.monthly_limit_usd ?? "",
    expires: toLocalInput(key.expires_at),
    team: key.team ?? null,
    member: key.member ?? null,
    name: key.name ?? "",
  };
}

/** Return only what differs: somebody else's change of another setting stays. */
export function changedSettings(before: KeySettings, now: KeySettings): Schemas["EditKeyBody"] {
  const body: Schemas["EditKeyBody"] = {};
  if (now.label !== before.label) {
    body.label = now.label.trim();
  }
  if (now.priority !== before.priority) {
    body.priority = now.priority;
  }
  if (now.weight !== before.weight) {
    body.weight = now.weight;
  }
  if (now.models.join("\n") !== before.models.join("\n")) {
    body.allowed_models = now.models.length === 0 ? null : [...now.models];
  }
  if (now.limit !== before.limit) {
    body.monthly_limit_usd = now.limit === "" ? null : decimalDollars(now.limit);
  }
  if (now.expires !== before.expires) {
    body.expires_at = now.expires === "" ? null : new Date(now.expires).toISOString();
  }
  if (now.name !== before.name) {
    body.name = now.name === "" ? null : now.name;
  }
  return { ...body, ...changedScope(before, now) };
}

function changedScope(
  before: KeySettings,
  now: KeySettings,
): Pick<Schemas["EditKeyBody"], "team" | "member"> {
  if (now.team === before.team && now.member === before.member) {
    return {};
  }
  // A key has one scope: to set one takes the other away.
  if (now.team !== null) {
    return { team: now.team };
  }
  if (now.member !== null) {
    return { member: now.member };
  }
  return before.team === null ? { member: null } : { team: null };
}
