import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { ActionButton, Button, ErrorNotice, Group, Modal, notify, Stack } from "@/ui";
import { ChannelChoice } from "./channel-choice";
import { METRIC_WORDS, type MetricView, scopeInWords } from "./metrics";
import { RuleFields } from "./rule-fields";
import { EMPTY_RULE, formOfRule, type RuleErrors, type RuleForm, readRule, withMetric } from "./rule-form";
import { RulePreview } from "./rule-preview";

interface RuleDialogProps {
  metrics: readonly MetricView[];
  /** The rule that is changed; without it a new one is added. */
  rule?: Schemas["AlertRule"];
  names: ReadonlyMap<string, string>;
  onClose: () => void;
}

/** Add an alert rule, or change one, with what it would have done in the last 30 days. */
export function RuleDialog({ metrics, rule, names, onClose }: RuleDialogProps) {
  const [form, setForm] = useState<RuleForm>(() => firstForm(metrics, rule));
  const [errors, setErrors] = useState<RuleErrors>({});
  const queries = useQueryClient();
  const onSuccess = (saved: Schemas["AlertRuleStatus"]) => {
    notify(`The rule "${saved.name}" is saved.`);
    void queries.invalidateQueries({
      predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/alerts"),
    });
    onClose();
  };
  const add = query.useMutation("post", "/api/v1/alerts/rules", { onSuccess });
  const change = query.useMutation("put", "/api/v1/alerts/rules/{rule_id}", { onSuccess });
  const preview = query.useMutation("post", "/api/v1/alerts/rules/preview");
  const view = metrics.find(({ metric }) => metric === form.metric);
  if (!view) {
    return null;
  }
  const edit = (next: RuleForm) => {
    setForm(next);
    setErrors({});
    preview.reset();
  };
  const read = () => {
    const found = readRule(form, view, rule?.scope);
    if ("errors" in found) {
      setErrors(found.errors);
      return null;
    }
    return found.body;
  };
  const save = () => {
    const body = read();
    if (body && rule) {
      const kept = { least_attempts: rule.least_attempts, margin_percent: rule.margin_percent };
      change.mutate({
        params: { path: { rule_id: rule.rule_id } },
        body: { ...body, ...kept, revision: rule.revision },
      });
    } else if (body) {
      add.mutate({ body });
    }
  };
  const error = add.error ?? change.error;
  const fixed = rule ? fixedInWords(rule, names) : null;
  return (
    <Modal opened onClose={onClose} title={rule ? "Change the rule" : "Add a rule"} size="lg">
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        <Stack gap="sm">
          <RuleFields
            form={form}
            errors={errors}
            metrics={metrics}
            view={view}
            fixed={fixed}
            onChange={edit}
          />
          <ChannelChoice chosen={form.channels} onChange={(channels) => setForm({ ...form, channels })} />
          {preview.data ? <RulePreview preview={preview.data} /> : null}
          {preview.error ? <ErrorNotice what="the preview" error={preview.error} /> : null}
          {error ? <ErrorNotice what="the rule" error={error} change /> : null}
          <Group justify="space-between">
            <ActionButton
              operation="preview_alert_rule"
              variant="default"
              loading={preview.isPending}
              onClick={() => {
                const body = read();
                if (body) {
                  preview.mutate({ body });
                }
              }}
            >
              Try on the last 30 days
            </ActionButton>
            <Group gap="xs">
              <Button variant="default" onClick={onClose}>
                Cancel
              </Button>
              <Button type="submit" loading={add.isPending || change.isPending}>
                {rule ? "Save rule" : "Add rule"}
              </Button>
            </Group>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function firstForm(metrics: readonly MetricView[], rule: Schemas["AlertRule"] | undefined): RuleForm {
  if (rule) {
    return formOfRule(rule);
  }
  const first = metrics.find(({ metric }) => metric === EMPTY_RULE.metric) ?? metrics[0];
  return first ? withMetric(EMPTY_RULE, first.metric, first) : EMPTY_RULE;
}

function fixedInWords(rule: Schemas["AlertRule"], names: ReadonlyMap<string, string>): string {
  const scope = scopeInWords(rule.scope ?? {}, names);
  return scope === ""
    ? METRIC_WORDS[rule.metric].toLowerCase()
    : `${METRIC_WORDS[rule.metric].toLowerCase()} of ${scope}`;
}
