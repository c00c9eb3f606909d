/** One row per operation: what runs for it, from rules, preferences and the traffic of the last days. Pure. */

import type { Schemas } from "@/api/client";
import { type OperationPlan, planOf } from "./operations";
import type { Rule } from "./rules-text";

type Comparison = Pick<Schemas["PowerLevelComparison"], "current" | "operations" | "levels">;

export interface OperationRow {
  readonly plan: OperationPlan;
  /** Whether these are all operations that are not listed. */
  readonly rest: boolean;
  readonly requestsPerMonth: number;
  readonly spendMicroUsd: number | null;
  readonly p95Ms: number | null;
  /** The models that would answer today's traffic, most frequent first, with their shares in thousandths. */
  readonly models: readonly { readonly model: string; readonly permille: number }[];
  readonly refusedPermille: number;
  readonly reason: string | null;
}

interface Source {
  readonly rules: readonly Rule[];
  readonly effective: readonly Pick<Schemas["EffectivePreference"], "name" | "value">[];
}

/** Return the rows: operations with traffic first, then those that only rules and preferences name. */
export function operationRows(
  comparison: Comparison | undefined,
  { rules, effective }: Source,
): OperationRow[] {
  const level = comparison?.levels.find(({ level: name }) => name === comparison.current);
  const seen = new Set<string>();
  const rows = (comparison?.operations ?? []).map((operation): OperationRow => {
    const name = operation.operation ?? "";
    const rest = operation.rest === true;
    if (!rest) {
      seen.add(name);
    }
    const at = level?.operations?.find(
      (each) => (each.operation ?? "") === name && (each.rest === true) === rest,
    );
    return {
      plan: planOf(name, rest ? [] : rules, rest ? [] : effective),
      rest,
      requestsPerMonth: operation.requests_per_month,
      spendMicroUsd: at ? at.amounts.spend_micro_usd : null,
      p95Ms: at?.p95_ms ?? null,
      models: at?.models ?? [],
      refusedPermille: at?.refused_permille ?? 0,
      reason: at?.reason ?? null,
    };
  });
  const named = new Set([
    ...rules.flatMap((rule) => rule.when?.operation ?? []),
    ...effective.flatMap(({ name }) => /^mod(?:e|el)_by_operation\.(.+)$/.exec(name)?.[1] ?? []),
  ]);
  const others = [...named].filter((name) => !seen.has(name)).sort();
  return [
    ...rows,
    ...others.map((name) => ({
      plan: planOf(name, rules, effective),
      rest: false,
      requestsPerMonth: 0,
      spendMicroUsd: null,
      p95Ms: null,
      models: [],
      refusedPermille: 0,
      reason: null,
    })),
  ];
}

/** Return the limits that hold for every request, in words. */
export function constraintsOf(effective: Source["effective"]): string[] {
  const values = new Map(effective.map(({ name, value }) => [name, value]));
  const regions = effective.flatMap(({ name, value }) =>
    name === "allowed_regions" && Array.isArray(value) ? value : [],
  );
  const most = values.get("max_tokens_per_request");
  return [
    ...(values.get("eu_only") === true ? ["European Union only"] : []),
    ...(regions.length > 0 ? [`regions ${regions.join(", ")}`] : []),
    ...(values.get("auto_provider_switch") === false ? ["stays at its first provider"] : []),
    ...(typeof most === "number" ? [`at most ${most.toLocaleString("en-US")} tokens`] : []),
  ];
}
