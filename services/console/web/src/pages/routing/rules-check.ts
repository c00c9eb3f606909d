/** Whether a document has the form of rules; the server checks everything else. Pure. */

import { CONDITION_NAMES, type Rule } from "./rules-text";

export type Path = readonly (string | number)[];

export interface Fault {
  readonly path: Path;
  readonly message: string;
}

const RULE_FIELDS = ["name", "description", "enabled", "when", "chain", "fallback", "default"];
const STEP_FIELDS = ["model", "provider", "power_level", "chain", "split"];
const ONE_OF_STEP = ["model", "power_level", "chain", "split"];
const SHARE_FIELDS = ["model", "provider", "weight"];
const CLOSED: Record<string, readonly string[]> = {
  power_level: ["eco", "balanced", "precision"],
  kind: ["chat", "embedding"],
  tier: ["free", "starter", "professional", "enterprise"],
  chain: ["general", "code", "chat", "long-context", "premium", "budget", "privacy"],
};
const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const MOST_RULES = 200;
const MOST_STEPS = 10;
const MOST_VALUES = 50;

type Report = (path: Path, message: string) => void;

/** Return the rules of a document, and what is wrong with its form. Without faults the rules can be shown and sent. */
export function checkRules(document: unknown): { rules: Rule[]; faults: Fault[] } {
  const faults: Fault[] = [];
  const report: Report = (path, message) => faults.push({ path, message });
  if (!isMapping(document) || !Array.isArray(document.rules)) {
    report([], "begin the document with “rules:” and a list of rules");
    return { rules: [], faults };
  }
  refuseUnknown(document, ["rules"], [], report);
  if (document.rules.length > MOST_RULES) {
    report(["rules"], `give at most ${MOST_RULES} rules`);
  }
  const names = new Map<string, number>();
  document.rules.forEach((rule, index) => {
    checkRule(rule, ["rules", index], report);
    const name: unknown = isMapping(rule) ? rule.name : undefined;
    if (typeof name === "string") {
      if (names.has(name)) {
        report(["rules", index, "name"], "another rule has this name: give each its own");
      }
      names.set(name, index);
    }
  });
  return { rules: faults.length > 0 ? [] : document.rules.map(normalize), faults };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuseUnknown(
  value: Record<string, unknown>,
  known: readonly string[],
  path: Path,
  report: Report,
): void {
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) {
      report([...path, name], `there is no field of this name here; the fields are ${known.join(", ")}`);
    }
  }
}

function checkRule(rule: unknown, path: Path, report: Report): void {
  if (!isMapping(rule)) {
    report(path, "a rule is a mapping with a name and a chain");
    return;
  }
  refuseUnknown(rule, RULE_FIELDS, path, report);
  if (typeof rule.name !== "string" || !NAME.test(rule.name)) {
    report(
      [...path, "name"],
      "give a name of 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends",
    );
  }
  if (rule.description !== undefined && typeof rule.description !== "string") {
    report([...path, "description"], "a description is a text");
  }
  for (const name of ["enabled", "fallback", "default"]) {
    if (rule[name] !== undefined && typeof rule[name] !== "boolean") {
      report([...path, name], "give true or false");
    }
  }
  if (rule.when !== undefined) {
    checkConditions(rule.when, [...path, "when"], report);
  }
  if (!Array.isArray(rule.chain) || rule.chain.length === 0) {
    report([...path, "chain"], "give the chain at least one step");
  } else if (rule.chain.length > MOST_STEPS) {
    report([...path, "chain"], `give the chain at most ${MOST_STEPS} steps`);
  } else {
    for (const [index, step] of rule.chain.entries()) {
      checkStep(step, [...path, "chain", index], report);
    }
  }
}

function checkConditions(when: unknown, path: Path, report: Report): void {
  if (!isMapping(when)) {
    report(path, "conditions are a mapping, such as “operation: summarize”");
    return;
  }
  refuseUnknown(when, CONDITION_NAMES, path, report);
  for (const [name, given] of Object.entries(when)) {
    const values: unknown[] = Array.isArray(given) ? given : [given];
    if (values.length === 0 || values.length > MOST_VALUES || !values.every(isText)) {
      report([...path, name], `give 1 to ${MOST_VALUES} texts`);
    } else {
      checkClosed(name, values, [...path, name], report);
    }
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function checkClosed(name: string, values: readonly unknown[], path: Path, report: Report): void {
  const known = CLOSED[name];
  if (known && !values.every((value) => isText(value) && known.includes(value))) {
    report(path, `give one of ${known.join(", ")}`);
  }
}

function checkStep(step: unknown, path: Path, report: Report): void {
  if (!isMapping(step)) {
    report(path, "a step is a mapping, such as “model: gpt-5”");
    return;
  }
  refuseUnknown(step, STEP_FIELDS, path, report);
  const given = ONE_OF_STEP.filter((name) => step[name] !== undefined && step[name] !== null);
  if (given.length !== 1) {
    report(path, "give the step exactly one of model, power_level, chain and split");
    return;
  }
  if (
    step.provider !== undefined &&
    step.provider !== null &&
    (!isText(step.provider) || !isText(step.model))
  ) {
    report([...path, "provider"], "name a provider only beside a model");
  }
  const kind = given[0] ?? "";
  if (kind === "split") {
    checkSplit(step.split, [...path, "split"], report);
  } else if (!isText(step[kind])) {
    report([...path, kind], kind === "model" ? "name a model" : "give a text");
  } else {
    checkClosed(kind, [step[kind]], [...path, kind], report);
  }
}

function checkSplit(split: unknown, path: Path, report: Report): void {
  if (!Array.isArray(split) || split.length < 2 || split.length > MOST_STEPS) {
    report(path, `a split has 2 to ${MOST_STEPS} models, each with a weight`);
    return;
  }
  split.forEach((share: unknown, index) => {
    const at = [...path, index];
    if (!isMapping(share)) {
      report(at, "a share is a mapping, such as “{model: gpt-5, weight: 90}”");
      return;
    }
    refuseUnknown(share, SHARE_FIELDS, at, report);
    if (!isText(share.model)) {
      report([...at, "model"], "name a model");
    }
    if (!Number.isInteger(share.weight) || Number(share.weight) < 1 || Number(share.weight) > 1_000_000) {
      report([...at, "weight"], "give a whole number from 1 to 1000000");
    }
  });
}

/** Return a rule that has been checked, with its conditions as lists. */
function normalize(rule: unknown): Rule {
  const given = rule as Rule & { when?: Record<string, string | string[]> };
  if (!given.when) {
    return given;
  }
  const when = Object.fromEntries(
    Object.entries(given.when).map(([name, value]) => [name, Array.isArray(value) ? value : [value]]),
  );
  return { ...given, when } as Rule;
}
