/** Rules as the text of a YAML or JSON file, written as the command line writes them. Pure. */

import type { Schemas } from "@/api/client";

export type Rule = Schemas["Rule"];
export type Conditions = Schemas["RuleConditions"];
export type Step = Schemas["ChainStep"];
export type Share = Schemas["SplitShare"];
export type TextFormat = "yaml" | "json";

const PLAIN = /^[A-Za-z][A-Za-z0-9_./*-]*$/;
/** What YAML 1.1 reads as true, false or null. */
const NOT_TEXT = new Set(["y", "n", "yes", "no", "on", "off", "true", "false", "null"]);

type Plain = { [name: string]: unknown };

/** Return the text of a file with these rules. What has its default value is left out. */
export function formatRules(rules: readonly Rule[], format: TextFormat): string {
  const document = { rules: rules.map(compactRule) };
  if (format === "json") {
    return JSON.stringify(document, null, 2);
  }
  return document.rules.length === 0 ? "rules: []" : mapping(document).join("\n");
}

/** Return a rule as it is sent: without what has its default value. */
export function compactRule(rule: Rule): Plain {
  const when = compactConditions(rule.when ?? {});
  return {
    name: rule.name,
    ...(rule.description ? { description: rule.description } : {}),
    ...(rule.enabled === false ? { enabled: false } : {}),
    ...(Object.keys(when).length > 0 ? { when } : {}),
    chain: rule.chain.map(compactStep),
    ...(rule.fallback === false ? { fallback: false } : {}),
    ...(rule.default ? { default: true } : {}),
  };
}

export const CONDITION_NAMES = [
  "operation",
  "tag",
  "model",
  "power_level",
  "kind",
  "team",
  "tenant",
  "tier",
] as const satisfies readonly (keyof Conditions)[];
export type ConditionName = (typeof CONDITION_NAMES)[number];

function compactConditions(when: Conditions): Plain {
  const given: Plain = {};
  for (const name of CONDITION_NAMES) {
    const values = when[name];
    if (values && values.length > 0) {
      given[name] = values;
    }
  }
  return given;
}

function compactStep(step: Step): Plain {
  return {
    ...(step.model ? { model: step.model } : {}),
    ...(step.provider ? { provider: step.provider } : {}),
    ...(step.power_level ? { power_level: step.power_level } : {}),
    ...(step.chain ? { chain: step.chain } : {}),
    ...(step.split
      ? {
          split: step.split.map(({ model, provider, weight }) => ({
            model,
            ...(provider ? { provider } : {}),
            weight,
          })),
        }
      : {}),
  };
}

function isMapping(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mapping(values: Plain): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (isMapping(value)) {
      return [`${name}:`, ...mapping(value).map((line) => `  ${line}`)];
    }
    if (Array.isArray(value) && value.some(isMapping)) {
      return [`${name}:`, ...value.flatMap((item) => listItem(item as Plain)).map((line) => `  ${line}`)];
    }
    return [`${name}: ${scalar(value)}`];
  });
}

function listItem(values: Plain): string[] {
  return mapping(values).map((line, index) => `${index === 0 ? "- " : "  "}${line}`);
}

function scalar(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(scalar).join(", ")}]`;
  }
  const plain = typeof value === "string" && PLAIN.test(value) && !NOT_TEXT.has(value.toLowerCase());
  return plain ? value : JSON.stringify(value);
}
