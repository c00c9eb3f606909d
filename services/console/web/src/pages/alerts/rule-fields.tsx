import { ScopeValue } from "@/components/scope-value";
import { Group, NativeSelect, Stack, Switch, Text, TextInput } from "@/ui";
import {
  METRIC_WORDS,
  type Metric,
  type MetricView,
  SCOPE_WORDS,
  type ScopeField,
  UNIT_WORDS,
  WINDOW_WORDS,
  type Window,
} from "./metrics";
import {
  type RuleErrors,
  type RuleForm,
  type Sensitivity,
  type Severity,
  withMetric,
  withUnusual,
} from "./rule-form";

interface RuleFieldsProps {
  form: RuleForm;
  errors: RuleErrors;
  metrics: readonly MetricView[];
  view: MetricView;
  /** What a saved rule is about; its metric and scope stay as they are. */
  fixed: string | null;
  onChange: (form: RuleForm) => void;
}

const CHOSEN: readonly ScopeField[] = ["team", "member", "client_token", "key", "model"];

/** What a rule watches, and when it fires. */
export function RuleFields({ form, errors, metrics, view, fixed, onChange }: RuleFieldsProps) {
  const edit = (patch: Partial<RuleForm>) => onChange({ ...form, ...patch });
  return (
    <Stack gap="sm">
      <TextInput
        label="Name"
        value={form.name}
        onChange={(event) => edit({ name: event.currentTarget.value })}
        error={errors.name}
        maxLength={100}
        required
        data-autofocus
      />
      {fixed ? (
        <Text size="sm" c="dimmed">
          Watches {fixed}. That stays as it is: delete the rule and add another to change it.
        </Text>
      ) : (
        <>
          <NativeSelect
            label="What it watches"
            value={form.metric}
            onChange={(event) => {
              const metric = event.currentTarget.value as Metric;
              const next = metrics.find((each) => each.metric === metric);
              if (next) {
                onChange(withMetric(form, metric, next));
              }
            }}
            data={metrics.map(({ metric }) => ({ value: metric, label: METRIC_WORDS[metric] }))}
          />
          <RuleScope form={form} errors={errors} view={view} edit={edit} />
        </>
      )}
      <RuleWhen form={form} errors={errors} view={view} onChange={onChange} />
      <Group grow align="flex-start">
        <NativeSelect
          label="Severity"
          description="Critical also passes quiet hours."
          value={form.severity}
          onChange={(event) => edit({ severity: event.currentTarget.value as Severity })}
          data={[
            { value: "info", label: "Information" },
            { value: "warning", label: "Warning" },
            { value: "critical", label: "Critical" },
          ]}
        />
        <TextInput
          label="Pause after it is over, in minutes"
          description="So long it does not fire again about the same."
          value={form.cooldownMinutes}
          onChange={(event) => edit({ cooldownMinutes: event.currentTarget.value })}
          error={errors.cooldownMinutes}
          inputMode="numeric"
        />
      </Group>
      {view.may_disable_key ? (
        <Switch
          label="Disable the key when it fires"
          description="Requests then use other keys, or are refused. You enable it again under Provider keys."
          checked={form.disableKey}
          onChange={(event) => edit({ disableKey: event.currentTarget.checked })}
        />
      ) : null}
      <Switch
        label="In force"
        checked={form.enabled}
        onChange={(event) => edit({ enabled: event.currentTarget.checked })}
      />
    </Stack>
  );
}

interface RuleScopeProps extends Pick<RuleFieldsProps, "form" | "errors" | "view"> {
  edit: (patch: Partial<RuleForm>) => void;
}

function RuleScope({ form, errors, view, edit }: RuleScopeProps) {
  if (view.scopes.length === 0) {
    return null;
  }
  const field = form.scopeField;
  return (
    <>
      <NativeSelect
        label="Of what"
        value={field}
        onChange={(event) =>
          edit({ scopeField: event.currentTarget.value as ScopeField | "", scopeValue: "" })
        }
        data={[
          { value: "", label: "Everything" },
          ...view.scopes.map((scope) => ({ value: scope, label: SCOPE_WORDS[scope] })),
        ]}
      />
      {field === "" ? null : field === "key_source" ? (
        <NativeSelect
          label={SCOPE_WORDS.key_source}
          value={form.scopeValue}
          onChange={(event) => edit({ scopeValue: event.currentTarget.value })}
          error={errors.scopeValue}
          data={[
            { value: "", label: "Choose" },
            { value: "byok", label: "Our own keys" },
            { value: "platform", label: "The platform's keys" },
            { value: "custom", label: "Our own servers" },
          ]}
        />
      ) : CHOSEN.includes(field) ? (
        <ScopeValue
          scope={field as "team" | "member" | "client_token" | "key" | "model"}
          value={form.scopeValue}
          onChange={(scopeValue) => edit({ scopeValue })}
          error={errors.scopeValue}
        />
      ) : (
        <TextInput
          label={SCOPE_WORDS[field]}
          description={field === "tag" ? "A name and a value, such as project=alpha." : undefined}
          value={form.scopeValue}
          onChange={(event) => edit({ scopeValue: event.currentTarget.value })}
          error={errors.scopeValue}
          required
        />
      )}
    </>
  );
}

function RuleWhen({
  form,
  errors,
  view,
  onChange,
}: Pick<RuleFieldsProps, "form" | "errors" | "view" | "onChange">) {
  const unit = UNIT_WORDS[view.unit];
  const side = view.compared === "at_most" ? "Fires at or below" : "Fires at or above";
  return (
    <>
      {view.windows.length > 0 ? (
        <NativeSelect
          label="Window"
          value={form.window}
          onChange={(event) => onChange({ ...form, window: event.currentTarget.value as Window })}
          data={view.windows.map((window) => ({ value: window, label: WINDOW_WORDS[window] }))}
          disabled={form.unusual !== ""}
        />
      ) : null}
      {view.compared === "happens" ? null : (
        <TextInput
          label={unit === "" ? side : `${side}, in ${unit}`}
          description={view.needs_threshold ? undefined : "Empty for the usual bound."}
          value={form.threshold}
          onChange={(event) => onChange({ ...form, threshold: event.currentTarget.value })}
          error={errors.threshold}
          inputMode="decimal"
        />
      )}
      {view.may_be_unusual ? (
        <NativeSelect
          label="Unusual for the hour"
          description="Against the same hour of the same weekday in the last eight weeks."
          value={form.unusual}
          onChange={(event) =>
            onChange(withUnusual(form, event.currentTarget.value as Sensitivity | "", view))
          }
          data={[
            ...(view.metric === "key_burst" ? [] : [{ value: "", label: "Does not matter" }]),
            { value: "low", label: "Low sensitivity: only what is far above" },
            { value: "medium", label: "Medium sensitivity" },
            { value: "high", label: "High sensitivity" },
          ]}
        />
      ) : null}
    </>
  );
}
