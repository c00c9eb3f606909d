import { useState } from "react";
import { api } from "@/api/client";
import { useAction } from "@/components/use-action";
import {
  ActionButton,
  ErrorNotice,
  Group,
  NativeSelect,
  Panel,
  Stack,
  Text,
  Textarea,
  TextInput,
} from "@/ui";
import { lastMonth, mistakesOf, type Way } from "./reconciliation";

const LABELS: Record<Way, string> = {
  api: "Ask the provider",
  csv: "Paste a CSV",
  total: "Total of an invoice",
};

/** Chooses what to compare with what. What was typed stays when it is refused. */
export function CompareForm({ onCompared }: { onCompared: (reportId: string) => void }) {
  const [given, setGiven] = useState({
    provider: "",
    ...lastMonth(new Date().toISOString().slice(0, 10)),
    way: "api" as Way,
    csv: "",
    total: "",
  });
  const [tried, setTried] = useState(false);
  const mistakes = mistakesOf(given);
  const shown = tried ? mistakes : {};
  const set = (changes: Partial<typeof given>) => setGiven((before) => ({ ...before, ...changes }));
  const comparing = useAction(async () => {
    const { data } = await api.POST("/api/v1/reconciliations", {
      body: {
        provider: given.provider,
        since: given.since,
        until: given.until,
        csv: given.way === "csv" ? given.csv : null,
        total_usd: given.way === "total" ? given.total.trim().replace("$", "") : null,
      },
    });
    if (data) {
      setTried(false);
      onCompared(data.reconciliation_id);
    }
  });
  const compare = () => {
    setTried(true);
    if (Object.keys(mistakes).length === 0) {
      void comparing.run();
    }
  };
  return (
    <Panel title="Compare">
      <Stack gap="sm">
        <Group gap="sm" align="flex-start">
          <TextInput
            label="Provider"
            description="As in provider keys, such as openai"
            value={given.provider}
            error={shown.provider}
            onChange={(event) => set({ provider: event.currentTarget.value.trim() })}
          />
          <TextInput
            type="date"
            label="First day"
            description="In UTC, as providers count"
            value={given.since}
            onChange={(event) => set({ since: event.currentTarget.value })}
          />
          <TextInput
            type="date"
            label="Last day"
            description="Is part of it"
            value={given.until}
            error={shown.until}
            onChange={(event) => set({ until: event.currentTarget.value })}
          />
        </Group>
        <NativeSelect
          label="What to compare with"
          value={given.way}
          onChange={(event) => set({ way: event.currentTarget.value as Way })}
          data={Object.entries(LABELS).map(([value, label]) => ({ value, label }))}
          maw={360}
        />
        {shown.way ? (
          <Text size="sm" c="red" role="alert">
            {shown.way}
          </Text>
        ) : null}
        {given.way === "api" ? (
          <Text size="sm" c="dimmed">
            OpenAI, Anthropic and OpenRouter can be asked, with an admin key that is saved under Integrations.
          </Text>
        ) : null}
        {given.way === "csv" ? (
          <Textarea
            label="CSV"
            description="A first line with names, among them cost, input_tokens or output_tokens; date and model if there are any."
            autosize
            minRows={4}
            maxRows={12}
            value={given.csv}
            error={shown.csv}
            onChange={(event) => set({ csv: event.currentTarget.value })}
          />
        ) : null}
        {given.way === "total" ? (
          <TextInput
            label="Total in dollars"
            value={given.total}
            error={shown.total}
            onChange={(event) => set({ total: event.currentTarget.value })}
          />
        ) : null}
        {comparing.error ? <ErrorNotice what="the comparison" error={comparing.error} change /> : null}
        <ActionButton
          operation="run_reconciliation"
          loading={comparing.busy}
          onClick={compare}
          style={{ alignSelf: "flex-start" }}
        >
          Compare
        </ActionButton>
      </Stack>
    </Panel>
  );
}
