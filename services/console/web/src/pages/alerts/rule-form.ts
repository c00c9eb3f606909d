/** An alert rule in a form, and as the API takes it. Pure. */

import type { Schemas } from "@/api/client";
import type { Metric, MetricView, ScopeField, Window } from "./metrics";

type Body = Schemas["NewAlertRuleBody"];
type Rule = Schemas["AlertRule"];
export type Severity = Schemas["AlertSeverity"];
export type Sensitivity = Schemas["Sensitivity"];

export interface RuleForm {
  readonly name: string;
  readonly metric: Metric;
  /** Empty for everything. */
  readonly scopeField: ScopeField | "";
  readonly scopeValue: string;
  readonly threshold: string;
  /** Empty where only the threshold counts. */
  readonly unusual: Sensitivity | "";
  /** Empty for a metric without windows. */
  readonly window: Window | "";
  readonly severity: Severity;
  /** Null for the usual channels. */
  readonly channels: readonly string[] | null;
  readonly enabled: boolean;
  readonly cooldownMinutes: string;
  readonly disableKey: boolean;
}

export type RuleErrors = Partial<Record<keyof RuleForm, string>>;

export const EMPTY_RULE: RuleForm = {
  name: "",
  metric: "spend",
  scopeField: "",
  scopeValue: "",
  threshold: "",
  unusual: "",
  window: "month",
  severity: "warning",
  channels: null,
  enabled: true,
  cooldownMinutes: "15",
  disableKey: false,
};

const DECIMAL = /^\d{1,12}(\.\d{1,12})?$/;
const LONGEST_COOLDOWN_MINUTES = 7 * 24 * 60;

/** Return the form after another metric was chosen: what the new one does not have is left out. */
export function withMetric(form: RuleForm, metric: Metric, view: MetricView): RuleForm {
  const fits = form.scopeField !== "" && view.scopes.includes(form.scopeField);
  const [first = ""] = view.windows;
  const window = form.window !== "" && view.windows.includes(form.window) ? form.window : first;
  const unusual = view.may_be_unusual
    ? metric === "key_burst"
      ? form.unusual || "medium"
      : form.unusual
    : "";
  return {
    ...form,
    metric,
    scopeField: fits ? form.scopeField : "",
    scopeValue: fits ? form.scopeValue : "",
    window: unusual !== "" && view.windows.includes("hour") ? "hour" : window,
    unusual,
    threshold: view.compared === "happens" ? "" : form.threshold,
    disableKey: view.may_disable_key && form.disableKey,
  };
}

/** Return the form with another sensitivity: what is unusual for the hour is of one hour. */
export function withUnusual(form: RuleForm, unusual: Sensitivity | "", view: MetricView): RuleForm {
  return { ...form, unusual, window: unusual !== "" && view.windows.includes("hour") ? "hour" : form.window };
}

/** Return the body for the API, or what is wrong with the form. `scope` replaces the form's, for rules that keep theirs. */
export function readRule(
  form: RuleForm,
  view: MetricView,
  scope?: Schemas["AlertScope"],
): { readonly body: Body } | { readonly errors: RuleErrors } {
  const errors: RuleErrors = {};
  const threshold = form.threshold.trim().replaceAll(",", "");
  if (form.name.trim() === "") {
    errors.name = "Give it a name";
  }
  if (threshold !== "" && !DECIMAL.test(threshold)) {
    errors.threshold = "A number such as 250 or 12.5";
  } else if (threshold === "" && view.needs_threshold && form.unusual === "") {
    errors.threshold = view.may_be_unusual
      ? "Give a number, or choose what is unusual for the hour"
      : "Give a number";
  }
  if (!scope && form.scopeField !== "" && scopeOf(form) === null) {
    errors.scopeValue =
      form.scopeField === "tag" ? "A name and a value, such as project=alpha" : "Say which one";
  }
  const minutes = Number(form.cooldownMinutes);
  if (!/^\d+$/.test(form.cooldownMinutes.trim()) || minutes > LONGEST_COOLDOWN_MINUTES) {
    errors.cooldownMinutes = `Whole minutes, at most ${LONGEST_COOLDOWN_MINUTES}`;
  }
  if (Object.keys(errors).length > 0) {
    return { errors };
  }
  return {
    body: {
      name: form.name.trim(),
      metric: form.metric,
      scope: scope ?? scopeOf(form) ?? {},
      condition: {
        threshold: threshold === "" ? null : threshold,
        unusual: form.unusual === "" ? null : form.unusual,
      },
      window: form.window === "" ? null : form.window,
      severity: form.severity,
      channels: form.channels === null ? null : [...form.channels],
      enabled: form.enabled,
      cooldown_seconds: minutes * 60,
      disable_key: form.disableKey,
    },
  };
}

function scopeOf({ scopeField, scopeValue }: RuleForm): Schemas["AlertScope"] | null {
  const value = scopeValue.trim();
  if (scopeField === "" || value === "") {
    return scopeField === "" ? {} : null;
  }
  if (scopeField !== "tag") {
    return { [scopeField]: value };
  }
  const at = value.indexOf("=");
  return at > 0 ? { tag: { name: value.slice(0, at), value: value.slice(at + 1) } } : null;
}

/** Return a saved rule as a form; its metric and scope stay as they are. */
export function formOfRule(rule: Rule): RuleForm {
  return {
    ...EMPTY_RULE,
    name: rule.name,
    metric: rule.metric,
    threshold: rule.condition?.threshold ?? "",
    unusual: rule.condition?.unusual ?? "",
    window: rule.window ?? "",
    severity: rule.severity ?? "warning",
    channels: rule.channels ?? null,
    enabled: rule.enabled ?? true,
    cooldownMinutes: String(Math.ceil((rule.cooldown_seconds ?? 900) / 60)),
    disableKey: rule.disable_key ?? false,
  };
}
