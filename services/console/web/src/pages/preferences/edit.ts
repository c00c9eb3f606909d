/** What the form of preferences decides: which values are changed, inherited or in conflict, and what is sent. Pure. */

import type { Schemas } from "@/api/client";

export type Saved = Schemas["Preferences"];
export type Name = keyof Saved;
export type Value = NonNullable<Saved[Name]>;
/** The values that somebody has changed and not saved; null takes a value out of the scope. */
export type Edits = { readonly [K in Name]?: Saved[K] | null };
export type Effective = Schemas["EffectivePreference"];

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a ?? null)) === JSON.stringify(sorted(b ?? null));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function isUnset(value: unknown): boolean {
  return (
    value === null ||
    value === undefined ||
    value === "" ||
    (typeof value === "object" && !Array.isArray(value) && Object.keys(value).length === 0)
  );
}

/** Return the edits with one more change. A value that equals the saved one is no edit. */
export function change<K extends Name>(edits: Edits, saved: Saved, name: K, value: Saved[K] | null): Edits {
  const next: Edits = { ...edits, [name]: isUnset(value) ? null : value };
  return Object.fromEntries(
    Object.entries(next).filter(([key, each]) => !same(each, valueOrNull(saved[key as Name]))),
  );
}

/** Return the edits that were made after some were sent. */
export function unsent(edits: Edits, sent: Edits): Edits {
  return Object.fromEntries(
    Object.entries(edits).filter(([name, value]) => !(name in sent) || !same(value, sent[name as Name])),
  );
}

function valueOrNull(value: unknown): unknown {
  return isUnset(value) ? null : value;
}

/** Return what the form shows of a value of the scope: the edit, or else what is saved there; null if it is not set there. */
export function shown<K extends Name>(edits: Edits, saved: Saved, name: K): NonNullable<Saved[K]> | null {
  const value = name in edits ? (edits[name] as Saved[K]) : saved[name];
  return value ?? null;
}

/** Return all preferences of the scope as they are sent: what is saved, with the edits. */
export function bodyOf(edits: Edits, saved: Saved): Saved {
  const body: Record<string, unknown> = {};
  for (const [name, value] of Object.entries({ ...saved, ...edits })) {
    if (!isUnset(value)) {
      body[name] = value;
    }
  }
  return body;
}

/** Return the names of the values that differ between two states of a scope. */
export function differing(before: Saved, after: Saved): Name[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]) as Set<Name>;
  return [...names]
    .filter((name) => !same(valueOrNull(before[name]), valueOrNull(after[name])))
    .sort() as Name[];
}

/** Return what a refusal says about each preference: its message joins faults such as `max_tokens: …; mode: …`. */
export function splitFaults(
  refusal: string,
  names: readonly string[],
): { byName: Map<string, string>; rest: string } {
  const message = refusal.replace(/^nothing was saved: /, "");
  const starts = [...message.matchAll(/(?:^|; )([a-z_]+)(\.[A-Za-z0-9_.-]+|\[\d+\])?: /g)].filter((match) =>
    names.includes(match[1] ?? ""),
  );
  const byName = new Map<string, string>();
  starts.forEach((match, index) => {
    const name = match[1] ?? "";
    const from = match.index + match[0].length;
    const text = message.slice(from, starts[index + 1]?.index ?? message.length);
    const part = match[2] ? `${match[2].replace(/^\./, "")}: ${text}` : text;
    byName.set(name, byName.has(name) ? `${byName.get(name)}; ${part}` : part);
  });
  const first = starts[0];
  return { byName, rest: first ? message.slice(0, first.index) : message };
}

/** Return where a value in force comes from, in words. */
export function originInWords(
  effective: Pick<Effective, "origin" | "origin_id">,
  nameOf: (id: string) => string = (id) => id,
): string {
  const id = effective.origin_id ? nameOf(effective.origin_id) : "";
  switch (effective.origin) {
    case "default":
      return "the default";
    case "platform":
      return "set for the whole installation";
    case "client_token":
      return `client token ${id}`.trim();
    default:
      return `${effective.origin} ${id}`.trim();
  }
}

/** Return a value in words; "not set" for none. */
export function inWords(value: unknown): string {
  if (isUnset(value) || (Array.isArray(value) && value.length === 0)) {
    return "not set";
  }
  if (typeof value === "boolean") {
    return value ? "on" : "off";
  }
  if (Array.isArray(value)) {
    return value.join(", ");
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value)
      .map(([key, each]) => `${key}: ${String(each)}`)
      .join(", ");
  }
  return typeof value === "number" ? value.toLocaleString("en-US") : String(value);
}

const FEWEST_TOKENS = 100;
const MOST_TOKENS = 128_000;

/** Return the tokens at a position from 0 to 100 of a slider, whose scale is logarithmic. */
export function tokensAt(position: number): number {
  const exact = FEWEST_TOKENS * (MOST_TOKENS / FEWEST_TOKENS) ** (position / 100);
  const step = 10 ** Math.max(Math.floor(Math.log10(exact)) - 1, 0);
  return Math.min(Math.max(Math.round(exact / step) * step, FEWEST_TOKENS), MOST_TOKENS);
}

/** Return the position of a number of tokens on the slider. */
export function positionOf(tokens: number): number {
  const bounded = Math.min(Math.max(tokens, FEWEST_TOKENS), MOST_TOKENS);
  return Math.round((100 * Math.log(bounded / FEWEST_TOKENS)) / Math.log(MOST_TOKENS / FEWEST_TOKENS));
}
