/** What the levels differ in, in words and amounts. Pure. */

import type { Schemas } from "@/api/client";

export type Level = Schemas["PowerLevel"];
export type Comparison = Schemas["PowerLevelComparison"];
export type Compared = Schemas["ComparedLevel"];
export type OfOperation = Schemas["LevelOfOperation"];

export const LEVELS: readonly Level[] = ["eco", "balanced", "precision"];

export const LEVEL_WORDS: Record<Level, { readonly title: string; readonly help: string }> = {
  eco: { title: "Eco", help: "The cheapest model that fits." },
  balanced: { title: "Balanced", help: "The best quality for its cost." },
  precision: { title: "Precision", help: "The best quality; of equals the cheaper." },
};

/** Return a name of an operation for people. */
export function operationName({ operation, rest }: Pick<OfOperation, "operation" | "rest">): string {
  return rest ? "All others" : (operation ?? "Without an operation");
}

/** Return a key of an operation: those that are not listed are one, and so are requests without one. */
export function operationKey({ operation, rest }: Pick<OfOperation, "operation" | "rest">): string {
  return rest ? "rest" : `operation ${operation ?? ""}`;
}

/** Return what a month of a level costs in comparison with another one, in micro-dollars. */
export function differenceOf(comparison: Comparison, level: Level, from: Level): number | null {
  const to = comparison.levels.find((each) => each.level === level);
  const before = comparison.levels.find((each) => each.level === from);
  return to && before ? to.amounts.spend_micro_usd - before.amounts.spend_micro_usd : null;
}

export interface OperationChange {
  readonly name: string;
  readonly before: string;
  readonly after: string;
}

/** Return the operations that other models would answer, with their most frequent models. */
export function changedOperations(before: Compared, after: Compared): OperationChange[] {
  const known = new Map((before.operations ?? []).map((each) => [operationKey(each), each]));
  return (after.operations ?? []).flatMap((each) => {
    const old = known.get(operationKey(each));
    const from = old ? modelsInWords(old) : "";
    const to = modelsInWords(each);
    return old && from !== to ? [{ name: operationName(each), before: from, after: to }] : [];
  });
}

/** Return the models that would answer, most frequent first. */
export function modelsInWords({ models, refused_permille: refused }: OfOperation): string {
  const names = (models ?? []).map(({ model, permille }) =>
    permille >= 995 ? model : `${model} ${percent(permille)}`,
  );
  const parts = [...names.slice(0, 3), ...(names.length > 3 ? [`${names.length - 3} more`] : [])];
  if (refused) {
    parts.push(`${percent(refused)} refused`);
  }
  return parts.length > 0 ? parts.join(", ") : "no traffic sampled";
}

/** Return thousandths as a percentage; never 0 % for something, nor 100 % for less than all. */
export function percent(permille: number): string {
  if (permille > 0 && permille < 10) {
    return "<1 %";
  }
  if (permille < 1000 && permille > 990) {
    return ">99 %";
  }
  return `${Math.round(permille / 10)} %`;
}

const DAYS_OF_MONTH = 30n;
const DIGITS = 15;

/** Return the micro-dollars of a month, rounded half up once, for a cost per request such as `0.0000039` and requests per day. */
export function perMonth(dollars: string, requestsPerDay: number): bigint {
  const match = /^(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(dollars);
  if (!match?.[1]) {
    throw new RangeError(`no amount: ${dollars}`);
  }
  const shift = Number(match[3] ?? "0");
  const fraction = match[2] ?? "";
  const digits = BigInt(match[1] + fraction);
  const scale = DIGITS - fraction.length + shift;
  const exact = scale >= 0 ? digits * 10n ** BigInt(scale) : digits / 10n ** BigInt(-scale);
  const month = exact * BigInt(Math.max(Math.round(requestsPerDay), 0)) * DAYS_OF_MONTH;
  const unit = 10n ** BigInt(DIGITS - 6);
  return (month + unit / 2n) / unit;
}

/** Return a number at a position from 0 to 100 of a slider, whose scale is logarithmic, with two digits. */
export function atPosition(position: number, least: number, most: number): number {
  const exact = least * (most / least) ** (position / 100);
  const step = 10 ** Math.max(Math.floor(Math.log10(exact)) - 1, 0);
  return Math.min(Math.max(Math.round(exact / step) * step, least), most);
}

/** Return the position of a number on the slider. */
export function positionOf(value: number, least: number, most: number): number {
  const bounded = Math.min(Math.max(value, least), most);
  return Math.round((100 * Math.log(bounded / least)) / Math.log(most / least));
}

export interface Prefill {
  readonly requestsPerDay: number;
  readonly input: number;
  readonly output: number;
}

/** Return the numbers of an operation's own traffic; null without any. */
export function prefillOf(
  comparison: Pick<Comparison, "operations">,
  key: string,
  which: "median" | "p90",
): Prefill | null {
  const found = (comparison.operations ?? []).find((each) => operationKey(each) === key);
  if (!found?.input_tokens || !found.output_tokens) {
    return null;
  }
  return {
    requestsPerDay: Math.max(Math.round(found.requests_per_month / 30), 1),
    input: Math.max(found.input_tokens[which], 1),
    output: Math.max(found.output_tokens[which], 1),
  };
}
