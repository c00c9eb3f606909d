import { type FormEvent, useState } from "react";
import { api } from "@/api/client";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { changedSettings, decimalDollars, settingsOf } from "@/components/provider-keys/settings";
import { SettingsFields } from "@/components/provider-keys/settings-fields";
import { useAction } from "@/components/use-action";
import { ActionButton, Button, ErrorNotice, Group, notify, Panel, Stack, Text, TextInput } from "@/ui";

const NAMED = new Set(["custom", "azure", "vllm", "ollama", "llamacpp"]);

/** The settings of a key: only what was changed is sent. */
export function SettingsPanel({ providerKey }: { providerKey: ProviderKey }) {
  const actions = useKeyActions();
  const [before, setBefore] = useState(() => settingsOf(providerKey));
  const [values, setValues] = useState(before);
  const body = changedSettings(before, values);
  const changed = Object.keys(body).length > 0;
  const limitWrong = values.limit !== "" && decimalDollars(values.limit) === null;
  const errors: Record<string, string> = limitWrong ? { limit: "Give an amount such as 50 or 12.50." } : {};
  const saving = useAction(async () => {
    const { data } = await api.PATCH("/api/v1/provider-keys/{key_id}", {
      params: { path: { key_id: providerKey.key_id } },
      body,
    });
    if (data) {
      setBefore(settingsOf(data));
      setValues(settingsOf(data));
      await actions.refresh();
      notify(`Saved the settings of ${data.label}.`);
    }
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (changed && !limitWrong) {
      void saving.run();
    }
  };
  return (
    <Panel title="Settings">
      <form onSubmit={submit} autoComplete="off">
        <Stack gap="sm">
          <TextInput
            label="Name"
            required
            maxLength={100}
            value={values.label}
            onChange={(event) => setValues({ ...values, label: event.currentTarget.value })}
          />
          {NAMED.has(providerKey.provider) ? (
            <TextInput
              label="Server name"
              description="Its models are called NAME/MODEL"
              value={values.name}
              onChange={(event) => setValues({ ...values, name: event.currentTarget.value.trim() })}
            />
          ) : null}
          <SettingsFields
            values={values}
            errors={errors}
            models={providerKey.models ?? []}
            onChange={(patch) => setValues((now) => ({ ...now, ...patch }))}
          />
          {providerKey.unlisted_models && providerKey.unlisted_models.length > 0 ? (
            <Text size="xs" c="dimmed">
              Not listed by the provider at the last test: {providerKey.unlisted_models.join(", ")}
            </Text>
          ) : null}
          {saving.error ? <ErrorNotice what="these settings" error={saving.error} change /> : null}
          <Group justify="flex-end" gap="xs">
            {changed ? (
              <Button variant="default" onClick={() => setValues(before)}>
                Discard
              </Button>
            ) : null}
            <ActionButton
              operation="edit_provider_key"
              type="submit"
              loading={saving.busy}
              disabledReason={changed ? undefined : "Nothing is changed."}
            >
              Save
            </ActionButton>
          </Group>
        </Stack>
      </form>
    </Panel>
  );
}
