/** A budget in a form, and as the API takes it. Pure. */

import type { Schemas } from "@/api/client";
import { formatTotal, parseDollars } from "@/format/money";

export type Budget = Schemas["Budget"];
export type BudgetScope = Schemas["BudgetScope"];
export type BudgetWindow = Schemas["BudgetWindow"];

export const SCOPE_WORDS: Record<BudgetScope, string> = {
  tenant: "Everything",
  team: "Team",
  member: "Member",
  client_token: "Client token",
  key: "Provider key",
  model: "Model",
};

export const WINDOWS = ["day", "week", "month", "24h", "168h", "720h"] as const;
export type WindowChoice = (typeof WINDOWS)[number];

export const WINDOW_WORDS: Record<WindowChoice, string> = {
  day: "Each day",
  week: "Each week, from Monday",
  month: "Each month",
  "24h": "The last 24 hours",
  "168h": "The last 7 days",
  "720h": "The last 30 days",
};

export interface BudgetForm {
  readonly name: string;
  readonly scope: BudgetScope;
  readonly value: string;
  readonly limit: string;
  readonly window: WindowChoice;
  readonly hard: boolean;
  readonly enabled: boolean;
  readonly thresholds: string;
}

export const EMPTY_FORM: BudgetForm = {
  name: "",
  scope: "tenant",
  value: "",
  limit: "",
  window: "month",
  hard: true,
  enabled: true,
  thresholds: "80, 100",
};

const MOST_THRESHOLDS = 10;

/** Return the window as the API takes it; calendar periods are those of the zone. */
export function windowOf(choice: WindowChoice, zone: string): BudgetWindow {
  switch (choice) {
    case "day":
    case "week":
    case "month":
      return { calendar: choice, time_zone: zone };
    default:
      return { rolling_hours: Number.parseInt(choice, 10) };
  }
}

/** Return a window in words. */
export function windowText(window: BudgetWindow): string {
  if (window.calendar) {
    return `${WINDOW_WORDS[window.calendar].replace(", from Monday", "")}, ${window.time_zone ?? "UTC"}`;
  }
  const hours = window.rolling_hours ?? 0;
  return hours % 24 === 0 && hours > 24 ? `The last ${hours / 24} days` : `The last ${hours} hours`;
}

/** Return the percents that were typed, such as `80, 100`; null if they are none. */
export function readThresholds(text: string): number[] | null {
  const parts = text.split(/[\s,;%]+/).filter((part) => part !== "");
  const numbers = parts.map(Number);
  const valid = numbers.every((number) => Number.isInteger(number) && number >= 1 && number <= 100);
  return valid && numbers.length <= MOST_THRESHOLDS
    ? [...new Set(numbers)].sort((one, two) => one - two)
    : null;
}

/** Return micro-dollars as dollars with all places that count, such as `12.5`. */
export function dollarsText(micro: bigint): string {
  const fraction = String(micro % 1_000_000n)
    .padStart(6, "0")
    .replace(/0+$/, "");
  return fraction === "" ? String(micro / 1_000_000n) : `${micro / 1_000_000n}.${fraction}`;
}

export type FormErrors = Partial<Record<keyof BudgetForm, string>>;

/** Return the body for the API, or what is wrong with the form. */
export function readForm(
  form: BudgetForm,
  zone: string,
): { readonly body: Schemas["NewBudgetBody"] } | { readonly errors: FormErrors } {
  const errors: FormErrors = {};
  const limit = parseDollars(form.limit);
  const thresholds = readThresholds(form.thresholds);
  if (limit === null || limit === 0n) {
    errors.limit = "An amount in dollars above 0, such as 250 or 12.50";
  }
  if (thresholds === null) {
    errors.thresholds = "Whole percents from 1 to 100, with commas between them";
  }
  if (form.scope !== "tenant" && form.value.trim() === "") {
    errors.value = "Say whose spending it is";
  }
  if (limit === null || thresholds === null || Object.keys(errors).length > 0) {
    return { errors };
  }
  return {
    body: {
      name: form.name.trim() === "" ? null : form.name.trim(),
      scope: form.scope,
      value: form.scope === "tenant" ? null : form.value.trim(),
      limit_usd: dollarsText(limit),
      window: windowOf(form.window, zone),
      hard: form.hard,
      enabled: form.enabled,
      thresholds,
    },
  };
}

/** Return a saved budget as a form. Its scope and window stay as they are; the form does not show them. */
export function formOf(budget: Budget): BudgetForm {
  return {
    ...EMPTY_FORM,
    name: budget.name ?? "",
    scope: budget.scope,
    value: budget.value ?? "",
    limit: dollarsText(BigInt(budget.limit_micro_usd)),
    hard: budget.hard ?? true,
    enabled: budget.enabled ?? true,
    thresholds: (budget.thresholds ?? []).join(", "),
  };
}

/** Return how a budget is called: its name, or what it counts. */
export function budgetTitle(budget: Budget, nameOf: (scope: BudgetScope, value: string) => string): string {
  if (budget.name) {
    return budget.name;
  }
  return budget.scope === "tenant"
    ? "Everything"
    : `${SCOPE_WORDS[budget.scope]} ${nameOf(budget.scope, budget.value ?? "")}`;
}

/** Return what happens when a budget is removed, from what it counts now. */
export function removalText(state: Schemas["BudgetState"]): string {
  const counted = `It has counted ${formatTotal(state.spent_micro_usd)} of ${formatTotal(state.budget.limit_micro_usd)} in its present window.`;
  const enforced = state.budget.hard !== false && state.budget.enabled !== false;
  return enforced
    ? `${counted} Requests beyond that limit will not be refused any more.`
    : `${counted} It refuses nothing now, so no request is affected.`;
}
