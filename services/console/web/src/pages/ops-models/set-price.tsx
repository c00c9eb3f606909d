import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query } from "@/api/client";
import { asApiError } from "@/api/errors";
import { Button, ErrorNotice, Group, Modal, SimpleGrid, Stack, Text, TextInput } from "@/ui";
import { parsePrice } from "./price";

const FIELDS = [
  ["input", "Input"],
  ["cached_read", "Cached input"],
  ["output", "Output"],
  ["per_request", "A request"],
] as const;

type Kind = (typeof FIELDS)[number][0];

/** Set the price of a model of a provider, from a time on. */
export function SetPrice({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const [provider, setProvider] = useState("");
  const [model, setModel] = useState("");
  const [from, setFrom] = useState("");
  const [values, setValues] = useState<Record<Kind, string>>({
    input: "",
    cached_read: "",
    output: "",
    per_request: "",
  });
  const saving = query.useMutation("put", "/api/v1/ops/prices", {
    onSuccess: () => {
      void cache.invalidateQueries();
      onClose();
    },
  });
  const refused = saving.error ? asApiError(saving.error) : null;
  const wrong = FIELDS.filter(([kind]) => parsePrice(values[kind]) === undefined).map(([kind]) => kind);
  const save = () => {
    const prices = Object.fromEntries(
      FIELDS.map(([kind]) => [kind, parsePrice(values[kind])]).filter(([, price]) => price !== null),
    );
    saving.mutate({
      body: { provider, model, prices, effective: from ? new Date(from).toISOString() : null },
    });
  };
  return (
    <Modal opened onClose={onClose} title="Set a price">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (wrong.length === 0) {
            save();
          }
        }}
      >
        <Stack>
          <SimpleGrid cols={{ base: 1, xs: 2 }}>
            <TextInput
              label="Provider"
              required
              value={provider}
              onChange={(event) => setProvider(event.currentTarget.value.trim())}
              data-autofocus
            />
            <TextInput
              label="Model, as the provider names it"
              required
              value={model}
              onChange={(event) => setModel(event.currentTarget.value.trim())}
            />
            {FIELDS.map(([kind, label]) => (
              <TextInput
                key={kind}
                label={label}
                inputMode="decimal"
                value={values[kind]}
                error={wrong.includes(kind) ? "A number such as 0.15" : null}
                onChange={(event) => setValues({ ...values, [kind]: event.currentTarget.value })}
              />
            ))}
          </SimpleGrid>
          <Text size="xs" c="dimmed">
            Dollars per million tokens, and per request. An empty field is charged like the kind that it is
            part of.
          </Text>
          <TextInput
            type="datetime-local"
            label="From"
            description="Now, if it is empty"
            value={from}
            onChange={(event) => setFrom(event.currentTarget.value)}
          />
          {refused ? <ErrorNotice what="the price" error={refused} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={saving.isPending}>
              Set price
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
