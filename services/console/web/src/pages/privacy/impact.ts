/** What "European Union only" would change for the models, preferences and rules of a tenant. Pure. */

import type { Schemas } from "@/api/client";

type Model = Pick<Schemas["Model"], "id" | "eu" | "virtual">;
type Rule = Schemas["Rule"];
type Preferences = Schemas["Preferences"];

export interface Loss {
  /** The operation, rule or preference that loses something. */
  readonly subject: string;
  readonly kind: "operation" | "rule" | "preference";
  /** The models that may not be used any more. */
  readonly models: readonly string[];
  /** Whether no model is left, so that requests would be refused. */
  readonly empty: boolean;
}

/** Names that stand for a choice among the models that remain. */
const CHOICES = new Set(["auto", "default", "eco", "balanced", "precision"]);

/** Return which settings name models that would not be used any more. `models` are those that the tenant can call now. */
export function lossesOf(
  models: readonly Model[],
  rules: readonly Rule[],
  scopes: readonly { readonly name: string; readonly preferences: Preferences }[],
): Loss[] {
  const inside = new Map<string, boolean>();
  for (const model of models) {
    if (!model.virtual) {
      inside.set(model.id, (inside.get(model.id) ?? false) || model.eu === true);
    }
  }
  const leaves = (name: string) => !CHOICES.has(name) && inside.get(name) === false;
  const losses = [
    ...scopes.flatMap(({ name, preferences }) => lossesOfPreferences(name, preferences, leaves)),
    ...rules.filter((rule) => rule.enabled !== false).flatMap((rule) => lossesOfRule(rule, leaves)),
  ];
  return losses.sort((a, b) => Number(b.empty) - Number(a.empty));
}

function lossesOfPreferences(scope: string, given: Preferences, leaves: (name: string) => boolean): Loss[] {
  const found: Loss[] = [];
  const add = (subject: string, kind: Loss["kind"], models: readonly string[], all: boolean) => {
    const gone = models.filter(leaves);
    if (gone.length > 0) {
      found.push({ subject, kind, models: gone, empty: all && gone.length === models.length });
    }
  };
  const of = scope === "" ? "" : ` of ${scope}`;
  for (const [operation, model] of Object.entries(given.model_by_operation ?? {})) {
    add(`${operation}${of}`, "operation", [String(model)], true);
  }
  add(`Default model${of}`, "preference", given.default_model ? [given.default_model] : [], true);
  add(`Fallback models${of}`, "preference", given.fallback_models ?? [], false);
  add(`Preferred models${of}`, "preference", given.preferred_models ?? [], false);
  return found;
}

function lossesOfRule(rule: Rule, leaves: (name: string) => boolean): Loss[] {
  const named = rule.chain.map((step) => (step.split ? step.split.map(({ model }) => model) : [step.model]));
  const gone = named.flat().filter((name): name is string => typeof name === "string" && leaves(name));
  if (gone.length === 0) {
    return [];
  }
  const empty = named.every((step) => step.every((name) => typeof name === "string" && leaves(name)));
  const operations = rule.when?.operation ?? [];
  const models = [...new Set(gone)];
  return operations.length > 0
    ? operations.map((operation) => ({ subject: operation, kind: "operation" as const, models, empty }))
    : [{ subject: rule.name, kind: "rule" as const, models, empty }];
}

type Preview = Schemas["PreferencesPreview"];

/** Return the operations of the traffic that lose something, those first whose requests would be refused. */
export function affectedOperations(preview: Preview): Schemas["PreviewedOperation"][] {
  return (preview.operations ?? [])
    .filter((each) => (each.refused ?? 0) > 0 || (each.fallback_lost ?? 0) > 0)
    .sort((a, b) => (b.refused ?? 0) - (a.refused ?? 0));
}

/** Return the consequence in one sentence. */
export function previewInWords(preview: Preview): string {
  const affected = affectedOperations(preview);
  const refused = affected.filter((each) => (each.refused ?? 0) > 0).length;
  const lost = affected.length - refused;
  const counted = `${preview.models_after} of ${preview.models_before} models remain`;
  const parts = [
    ...(lost > 0 ? [`${lost} ${lost === 1 ? "operation loses its" : "operations lose their"} fallback`] : []),
    ...(refused > 0
      ? [`requests of ${refused} ${refused === 1 ? "operation" : "operations"} would be refused`]
      : []),
  ];
  return parts.length > 0
    ? `${counted}; ${parts.join(", ")}.`
    : `${counted}, and no operation of the last 30 days loses any.`;
}
