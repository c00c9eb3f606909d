import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { Alert, Group, Loader, Stack, StatusMark, Text } from "@/ui";
import { capitalize, STEP_NAMES } from "./key-status";

type KeyTest = Schemas["KeyTest"];
type Step = KeyTest["steps"][number];

const ORDER: readonly Schemas["KeyTestStep"][] = ["reachable", "accepted", "credit", "model"];

/** The four steps of a key's test, as they are known. */
export function TestSteps({ test, running = false }: { test: KeyTest | null; running?: boolean }) {
  return (
    <Stack gap="xs" role="status" aria-busy={running}>
      <ul className="plain-list">
        {ORDER.map((name) => (
          <li key={name}>
            <StepLine name={name} step={test?.steps.find((step) => step.step === name)} running={running} />
          </li>
        ))}
      </ul>
      {test && !running ? <Outcome test={test} /> : null}
    </Stack>
  );
}

function StepLine({ name, step, running }: { name: Step["step"]; step: Step | undefined; running: boolean }) {
  const kind = step?.passed === true ? "ok" : step?.passed === false ? "error" : "neutral";
  return (
    <Group gap="xs" wrap="nowrap" align="flex-start" justify="space-between">
      <Group gap={6} wrap="wrap" align="baseline" flex={1} fz="sm">
        {running ? (
          <Group gap={6} component="span" wrap="nowrap">
            <Loader size={14} aria-hidden />
            <Text span size="sm">
              {STEP_NAMES[name]}
            </Text>
          </Group>
        ) : (
          <StatusMark kind={kind}>{STEP_NAMES[name]}</StatusMark>
        )}
        {step && !running ? (
          <Text span size="xs" c="dimmed">
            {capitalize(step.detail)}
          </Text>
        ) : null}
      </Group>
      {step && !running && step.duration_ms !== null && step.duration_ms !== undefined ? (
        <Text span size="xs" c="dimmed" className="tabular nowrap">
          {formatDuration(step.duration_ms)}
        </Text>
      ) : null}
    </Group>
  );
}

const OUTCOMES: Record<KeyTest["result"], { color: string; title: string; text: string }> = {
  valid: { color: "green", title: "The key works", text: "" },
  degraded: {
    color: "yellow",
    title: "The provider accepts the key, but something is missing",
    text: "It can be saved. Requests use it after the keys that have everything.",
  },
  invalid: {
    color: "red",
    title: "The provider does not accept the key",
    text: "It cannot be saved. Copy the key again from the provider, or create a new one there.",
  },
  inconclusive: {
    color: "yellow",
    title: "The test had no result",
    text: "Nothing is known about the key: the provider did not answer as expected. Test again, or save it untested.",
  },
};

function Outcome({ test }: { test: KeyTest }) {
  const { color, title, text } = OUTCOMES[test.result];
  return (
    <Alert color={color} variant="outline" title={title} p="xs">
      <Text size="sm">
        {text} {test.format_warning ?? ""}{" "}
        {test.credit_left_usd ? `Credit left: $${test.credit_left_usd}.` : ""}{" "}
        {test.models && test.models.length > 0 ? `${test.models.length} models can be reached. ` : ""}
        Took {formatDuration(test.duration_ms)}.
      </Text>
    </Alert>
  );
}
