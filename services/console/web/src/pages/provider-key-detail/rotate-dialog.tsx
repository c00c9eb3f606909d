import { type FormEvent, useRef, useState } from "react";
import { api, query, type Schemas } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import { KeyField } from "@/components/provider-keys/key-field";
import { checkFormat, type FormatFinding, type Provider } from "@/components/provider-keys/key-format";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { keyPart } from "@/components/provider-keys/send-key";
import { TestSteps } from "@/components/provider-keys/test-steps";
import { useAction } from "@/components/use-action";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Anchor,
  Button,
  Checkbox,
  Code,
  ErrorNotice,
  Group,
  List,
  Modal,
  notify,
  Stack,
  Text,
} from "@/ui";

interface RotateDialogProps {
  providerKey: ProviderKey;
  provider: Provider | null;
  onClose: () => void;
}

/** Replace a key: the new one is tested, then used at once, and the old one is kept to go back to. */
export function RotateDialog({ providerKey, provider, onClose }: RotateDialogProps) {
  return (
    <Modal opened onClose={onClose} title={`Rotate “${providerKey.label}”`} size="lg">
      <RotateForm providerKey={providerKey} provider={provider} onClose={onClose} />
    </Modal>
  );
}

function RotateForm({ providerKey, provider, onClose }: RotateDialogProps) {
  const tenant = useTenant();
  const actions = useKeyActions();
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const field = useRef<HTMLInputElement>(null);
  const [finding, setFinding] = useState<FormatFinding | null>(null);
  const [test, setTest] = useState<Schemas["KeyTest"] | null>(null);
  const [saveUntested, setSaveUntested] = useState(false);
  const title = provider?.title ?? providerKey.provider;

  const readKey = () => {
    const key = field.current?.value.trim() ?? "";
    if (key === "") {
      setFinding({ kind: "refused", message: "Paste the new key here." });
    }
    return key === "" || finding?.kind === "refused" ? null : key;
  };
  const sealed = (key: string) =>
    keyPart(key, { tenant, provider: providerKey.provider, origin: providerKey.origin });
  const testing = useAction(async () => {
    setTest(null);
    const key = readKey();
    if (key !== null) {
      const { data } = await api.POST("/api/v1/provider-keys/test", {
        body: {
          provider: providerKey.provider,
          base_url: providerKey.base_url,
          fields: providerKey.fields ?? {},
          ...(await sealed(key)),
        },
      });
      setTest(data ?? null);
    }
  });
  const rotating = useAction(async () => {
    const key = readKey();
    if (key === null) {
      return;
    }
    await api.POST("/api/v1/provider-keys/{key_id}/rotate", {
      params: { path: { key_id: providerKey.key_id } },
      body: { save_untested: saveUntested, ...(await sealed(key)) },
    });
    if (field.current) {
      field.current.value = "";
    }
    await actions.refresh();
    notify(`Rotated the key ${providerKey.label}.`);
    onClose();
  });
  const inconclusive =
    test?.result === "inconclusive" || (rotating.error instanceof ApiError && rotating.error.status === 503);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!rotating.busy) {
      void rotating.run();
    }
  };
  return (
    <form onSubmit={submit} autoComplete="off" noValidate>
      <Stack gap="sm">
        <List type="ordered" size="sm" spacing={2}>
          <List.Item>
            Create a new key at{" "}
            {provider?.key_url ? (
              <Anchor href={provider.key_url} target="_blank" rel="noreferrer" inherit underline="always">
                {title}
              </Anchor>
            ) : (
              title
            )}{" "}
            and paste it here.
          </List.Item>
          <List.Item>Test it, then switch. Requests go on without interruption.</List.Item>
          <List.Item>
            Watch the error rate for ten minutes; one click goes back to {providerKey.masked}.
          </List.Item>
          <List.Item>Delete the old key at {title}.</List.Item>
        </List>
        <KeyField
          field={field}
          label="New key"
          description={`In place of ${providerKey.masked}. Priority, limits and name stay.`}
          finding={finding}
          onInput={(key) => {
            setTest(null);
            setFinding(provider ? checkFormat(key, provider, providers.data?.data ?? []) : null);
          }}
        />
        <Group>
          <ActionButton
            operation="try_provider_key"
            variant="default"
            loading={testing.busy}
            onClick={() => void testing.run()}
          >
            Test connection
          </ActionButton>
        </Group>
        {test || testing.busy ? <TestSteps test={test} running={testing.busy} /> : null}
        {testing.error ? <ErrorNotice what="the test" error={testing.error} change /> : null}
        {inconclusive ? (
          <Checkbox
            label="Switch even if the test has no result"
            checked={saveUntested}
            onChange={(event) => setSaveUntested(event.currentTarget.checked)}
          />
        ) : null}
        {rotating.error ? <ErrorNotice what="the rotation" error={rotating.error} change /> : null}
        <Text size="xs" c="dimmed">
          The new key has to be for the same address: <Code>{providerKey.base_url}</Code>
        </Text>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <ActionButton operation="rotate_provider_key" type="submit" loading={rotating.busy}>
            Switch to the new key
          </ActionButton>
        </Group>
      </Stack>
    </form>
  );
}
