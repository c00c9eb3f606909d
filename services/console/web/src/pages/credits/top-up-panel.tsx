import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { formatDollars } from "@/format/money";
import {
  ActionButton,
  Checkbox,
  ErrorNotice,
  Group,
  notify,
  Panel,
  QueryState,
  Stack,
  StatusMark,
  Switch,
  Text,
  TextInput,
  Time,
} from "@/ui";
import {
  formOf,
  readForm,
  TOP_UP_KINDS,
  TOP_UP_WORDS,
  type TopUpErrors,
  type TopUpForm,
} from "./top-up-form";

type TopUp = Schemas["TopUp"];

/** The automatic top-up: what it does now, and its terms. */
export function TopUpPanel() {
  const topUp = query.useQuery("get", "/api/v1/credits/top-up");
  return (
    <Panel title="Automatic top-up">
      <QueryState what="the automatic top-up" query={{ ...topUp, isFetching: topUp.isPending }} height={260}>
        {(data) =>
          data.configured || data.revision ? (
            <Stack gap="sm">
              <TopUpStatus topUp={data} />
              <TermsForm key={data.revision} topUp={data} />
            </Stack>
          ) : (
            <Text size="sm">
              This installation takes no payments yet, so it cannot buy credits by itself.
            </Text>
          )
        }
      </QueryState>
    </Panel>
  );
}

function TopUpStatus({ topUp }: { topUp: TopUp }) {
  const queries = useQueryClient();
  const resume = query.useMutation("post", "/api/v1/credits/top-up/resume", {
    onSuccess: () => {
      notify("Automatic top-ups go on.");
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[1] === "/api/v1/credits/top-up",
      });
    },
  });
  return (
    <Stack gap={4} role="status">
      <StatusMark kind={TOP_UP_KINDS[topUp.state]}>{TOP_UP_WORDS[topUp.state]}</StatusMark>
      {topUp.reason ? <Text size="sm">{topUp.reason}</Text> : null}
      {topUp.next_attempt_at ? (
        <Text size="sm">
          Next try: <Time iso={topUp.next_attempt_at} />
        </Text>
      ) : null}
      {topUp.revision ? (
        <Text size="sm" c="dimmed">
          {formatDollars(topUp.spent_this_month_usd ?? "0")} of{" "}
          {formatDollars(topUp.monthly_ceiling_usd ?? "0")} this month, which ends{" "}
          <Time iso={topUp.month_ends_at} />. {topUp.payment_method ?? "No payment method is saved."}
        </Text>
      ) : null}
      {topUp.state === "paused" ? (
        <Group>
          <ActionButton
            operation="resume_top_up"
            size="compact-sm"
            loading={resume.isPending}
            onClick={() => resume.mutate({})}
          >
            Resume
          </ActionButton>
        </Group>
      ) : null}
      {resume.error ? <ErrorNotice what="the automatic top-up" error={resume.error} change /> : null}
    </Stack>
  );
}

function TermsForm({ topUp }: { topUp: TopUp }) {
  const [form, setForm] = useState<TopUpForm>(() => formOf(topUp));
  const [errors, setErrors] = useState<TopUpErrors>({});
  const queries = useQueryClient();
  const save = query.useMutation("put", "/api/v1/credits/top-up", {
    onSuccess: (saved) => {
      notify(saved.enabled ? "Automatic top-ups are on." : "Automatic top-ups are off.");
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[1] === "/api/v1/credits/top-up",
      });
    },
  });
  const edit = (patch: Partial<TopUpForm>) => {
    setForm({ ...form, ...patch });
    setErrors({});
  };
  const submit = () => {
    const read = readForm(form, topUp.revision ?? 0);
    if ("errors" in read) {
      setErrors(read.errors);
    } else {
      save.mutate({ body: read.body });
    }
  };
  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <Stack gap="xs">
        <Switch
          label="Buy credits automatically"
          checked={form.enabled}
          onChange={(event) => edit({ enabled: event.currentTarget.checked })}
        />
        <TextInput
          label="When so many credits or fewer are available"
          value={form.threshold}
          onChange={(event) => edit({ threshold: event.currentTarget.value })}
          error={errors.threshold}
          inputMode="decimal"
        />
        <TextInput
          label="Each payment, in US dollars"
          description={
            topUp.credits && topUp.credits !== "0"
              ? `The saved amount buys ${formatCredits(topUp.credits)} credits`
              : null
          }
          value={form.price}
          onChange={(event) => edit({ price: event.currentTarget.value })}
          error={errors.price}
          inputMode="decimal"
        />
        <TextInput
          label="At most in a month, in US dollars"
          value={form.ceiling}
          onChange={(event) => edit({ ceiling: event.currentTarget.value })}
          error={errors.ceiling}
          inputMode="decimal"
        />
        <Checkbox
          label="The saved payment method may be charged without asking again"
          checked={form.consent}
          onChange={(event) => edit({ consent: event.currentTarget.checked })}
          error={errors.consent}
          disabled={!form.enabled}
        />
        <Group justify="flex-end">
          <ActionButton operation="save_top_up" type="submit" variant="default" loading={save.isPending}>
            Save automatic top-up
          </ActionButton>
        </Group>
        {save.error ? <ErrorNotice what="the automatic top-up" error={save.error} change /> : null}
      </Stack>
    </form>
  );
}
