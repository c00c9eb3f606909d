import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { ActionButton, ErrorNotice, Group, notify, Panel, Text, TextInput } from "@/ui";

const AMOUNT = /^\d{1,12}(\.\d{1,3})?$/;

/** From which balance on credits count as low. */
export function ThresholdPanel({ credits }: { credits: Schemas["CreditBalance"] | undefined }) {
  const [typed, setTyped] = useState<string | null>(null);
  const queries = useQueryClient();
  const save = query.useMutation("put", "/api/v1/credits/threshold", {
    onSuccess: (saved) => {
      setTyped(null);
      notify(`Credits are low at ${formatCredits(saved.low_below)} or below.`);
      void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/credits" });
    },
  });
  const value = typed ?? credits?.low_below ?? "";
  const plain = value.replaceAll(",", "").trim();
  const problem = value !== "" && !AMOUNT.test(plain) ? "Credits as a number, such as 5000" : null;
  const submit = () => {
    if (problem === null && plain !== "") {
      save.mutate({ body: { credits: plain } });
    }
  };
  return (
    <Panel title="Low credits">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Group align="flex-end" gap="xs">
          <TextInput
            label="Low at or below, in credits"
            value={value}
            onChange={(event) => setTyped(event.currentTarget.value)}
            error={problem}
            inputMode="decimal"
            flex={1}
          />
          <ActionButton
            operation="set_credit_threshold"
            type="submit"
            variant="default"
            loading={save.isPending}
            disabledReason={typed === null ? "Nothing is changed." : undefined}
          >
            Save
          </ActionButton>
        </Group>
      </form>
      <Text size="xs" c="dimmed">
        The first page says so then. Nothing is refused before credits are used up.
      </Text>
      {save.error ? <ErrorNotice what="the threshold" error={save.error} change /> : null}
    </Panel>
  );
}
