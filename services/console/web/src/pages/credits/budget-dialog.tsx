import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { ScopeValue } from "@/components/scope-value";
import {
  Button,
  ErrorNotice,
  Group,
  Modal,
  NativeSelect,
  notify,
  Stack,
  Switch,
  Text,
  TextInput,
} from "@/ui";
import {
  type BudgetForm,
  type BudgetScope,
  EMPTY_FORM,
  type FormErrors,
  formOf,
  readForm,
  SCOPE_WORDS,
  WINDOW_WORDS,
  WINDOWS,
  type WindowChoice,
  windowText,
} from "./budget-form";

interface BudgetDialogProps {
  zone: string;
  /** The budget that is changed; without it a new one is added. */
  state?: Schemas["BudgetState"];
  onClose: () => void;
}

const SCOPES = Object.keys(SCOPE_WORDS) as BudgetScope[];

function useSave(onSaved: (name: string) => void) {
  const queries = useQueryClient();
  const onSuccess = (saved: Schemas["BudgetState"]) => {
    void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/budgets" });
    onSaved(saved.budget.name ?? SCOPE_WORDS[saved.budget.scope]);
  };
  const add = query.useMutation("post", "/api/v1/budgets", { onSuccess });
  const change = query.useMutation("put", "/api/v1/budgets/{budget_id}", { onSuccess });
  return { add, change };
}

/** Add a budget, or change one: what it limits and what happens at the limit. */
export function BudgetDialog({ zone, state, onClose }: BudgetDialogProps) {
  const budget = state?.budget;
  const [form, setForm] = useState<BudgetForm>(budget ? formOf(budget) : EMPTY_FORM);
  const [errors, setErrors] = useState<FormErrors>({});
  const { add, change } = useSave((name) => {
    notify(`The budget "${name}" is saved.`);
    onClose();
  });
  const edit = (patch: Partial<BudgetForm>) => {
    setForm({ ...form, ...patch });
    setErrors({});
  };
  const submit = () => {
    const read = readForm(form, zone);
    if ("errors" in read) {
      setErrors(read.errors);
    } else if (budget) {
      const { scope, value, window, revision, budget_id } = budget;
      const body = { ...read.body, scope, value: value ?? null, window, revision };
      change.mutate({ params: { path: { budget_id } }, body });
    } else {
      add.mutate({ body: read.body });
    }
  };
  const error = add.error ?? change.error;
  return (
    <Modal opened onClose={onClose} title={budget ? "Change the budget" : "Add a budget"}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack gap="sm">
          <TextInput
            label="Name"
            value={form.name}
            onChange={(event) => edit({ name: event.currentTarget.value })}
            maxLength={100}
            data-autofocus
          />
          {budget ? (
            <Text size="sm" c="dimmed">
              Counts {SCOPE_WORDS[budget.scope].toLowerCase()} {budget.value ?? ""}.{" "}
              {windowText(budget.window)}. These stay as they are: delete it and add another to change them.
            </Text>
          ) : (
            <>
              <NativeSelect
                label="What it counts"
                value={form.scope}
                onChange={(event) => edit({ scope: event.currentTarget.value as BudgetScope, value: "" })}
                data={SCOPES.map((scope) => ({ value: scope, label: SCOPE_WORDS[scope] }))}
              />
              <ScopeValue
                scope={form.scope}
                value={form.value}
                onChange={(value) => edit({ value })}
                error={errors.value}
              />
              <NativeSelect
                label="Window"
                description={`Days, weeks and months are ${zone}.`}
                value={form.window}
                onChange={(event) => edit({ window: event.currentTarget.value as WindowChoice })}
                data={WINDOWS.map((window) => ({ value: window, label: WINDOW_WORDS[window] }))}
              />
            </>
          )}
          <TextInput
            label="Limit in US dollars"
            value={form.limit}
            onChange={(event) => edit({ limit: event.currentTarget.value })}
            error={errors.limit}
            inputMode="decimal"
            required
          />
          <TextInput
            label="Say so at, in percent"
            value={form.thresholds}
            onChange={(event) => edit({ thresholds: event.currentTarget.value })}
            error={errors.thresholds}
          />
          <Switch
            label="Refuse requests that do not fit"
            checked={form.hard}
            onChange={(event) => edit({ hard: event.currentTarget.checked })}
          />
          <Switch
            label="In force"
            checked={form.enabled}
            onChange={(event) => edit({ enabled: event.currentTarget.checked })}
          />
          {error ? <ErrorNotice what="the budget" error={error} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={add.isPending || change.isPending}>
              {budget ? "Save budget" : "Add budget"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
