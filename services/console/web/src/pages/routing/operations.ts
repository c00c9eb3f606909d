/** What runs for each operation, from the published rules, the preferences and the traffic. Pure. */

import type { Schemas } from "@/api/client";
import type { Rule, Share, Step } from "./rules-text";

type Effective = Pick<Schemas["EffectivePreference"], "name" | "value">;

export interface OperationPlan {
  /** Empty for requests without one. */
  readonly operation: string;
  readonly mode: string | null;
  /** Whether the mode is one of the operation's own. */
  readonly ownMode: boolean;
  readonly first: string;
  readonly after: readonly string[];
  /** The rule that decides, if one does for every request of the operation. */
  readonly rule: string | null;
  /** Rules that decide for some of its requests only. */
  readonly sometimes: readonly string[];
}

/** Return how an operation is planned. Conditions on anything else but the operation hold for some requests only. */
export function planOf(
  operation: string,
  rules: readonly Rule[],
  effective: readonly Effective[],
): OperationPlan {
  const values = new Map(effective.map(({ name, value }) => [name, value]));
  const sometimes: string[] = [];
  let decides: Rule | null = null;
  for (const rule of rules) {
    const matches = matchOf(rule, operation);
    if (matches === "always") {
      decides = rule;
      break;
    }
    if (matches === "sometimes") {
      sometimes.push(rule.name);
    }
  }
  const ownMode = operation !== "" && values.get(`mode_by_operation.${operation}`);
  const fallbacks = decides?.fallback === false ? [] : strings(values.get("fallback_models"));
  const steps = decides
    ? decides.chain.map(stepInWords)
    : ["the model that is asked for", ...defaultModel(operation, values)];
  const [first = "no model", ...others] = decides ? steps : [steps.slice(0, 2).join("; ")];
  return {
    operation,
    mode: text(ownMode || values.get("mode")),
    ownMode: Boolean(ownMode),
    first,
    after: [...others, ...fallbacks],
    rule: decides?.name ?? null,
    sometimes,
  };
}

function defaultModel(operation: string, values: ReadonlyMap<string, unknown>): string[] {
  const model = text(values.get(`model_by_operation.${operation}`)) ?? text(values.get("default_model"));
  return model ? [`default is ${model}`] : [];
}

function matchOf(rule: Rule, operation: string): "always" | "sometimes" | "never" {
  if (rule.enabled === false) {
    return "never";
  }
  const given = Object.entries(rule.when ?? {}).filter(([, values]) => values && values.length > 0);
  const named = rule.when?.operation;
  if (named && named.length > 0 && !named.includes(operation)) {
    return "never";
  }
  const others = given.filter(([name]) => name !== "operation");
  return others.length === 0 && (rule.default || given.length > 0) ? "always" : "sometimes";
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === "string") : [];
}

/** Return a step in words. */
export function stepInWords(step: Step): string {
  if (step.split) {
    return step.split
      .map((share, index) => `${shareInWords(step.split ?? [], index)} ${share.model}`)
      .join(" / ");
  }
  if (step.power_level) {
    return `level ${step.power_level}`;
  }
  if (step.chain) {
    return `chain ${step.chain}`;
  }
  return step.provider ? `${step.model} at ${step.provider}` : (step.model ?? "no model");
}

/** Return a share of a split in words, such as `90 %`. */
export function shareInWords(split: readonly Share[], index: number): string {
  const total = split.reduce((sum, { weight }) => sum + Math.max(weight, 0), 0);
  const weight = split[index]?.weight ?? 0;
  if (total === 0) {
    return "0 %";
  }
  const percent = (100 * weight) / total;
  return percent > 0 && percent < 1 ? "<1 %" : `${Math.round(percent)} %`;
}
