import { type FormEvent, useState } from "react";
import { api } from "@/api/client";
import { OneTimeSecret } from "@/components/client-tokens/one-time-secret";
import { useUsableModel } from "@/components/client-tokens/usable-model";
import { ScopeField } from "@/components/provider-keys/scope-fields";
import { useAction } from "@/components/use-action";
import { useSession } from "@/session/session";
import { ActionButton, Alert, Button, ErrorNotice, Group, Modal, Stack, Text } from "@/ui";
import { TokenFields } from "./token-fields";
import { createBody, EMPTY_TOKEN, type TokenForm } from "./token-form";
import { useRefreshTokens } from "./token-menu";

/** Create a token: first what it may do, then its secret, once. */
export function CreateTokenDialog({ onClose }: { onClose: () => void }) {
  const { role } = useSession();
  const refresh = useRefreshTokens();
  const model = useUsableModel();
  const [form, setForm] = useState<TokenForm>(EMPTY_TOKEN);
  const [secret, setSecret] = useState<string | null>(null);
  const [unknown, setUnknown] = useState<readonly string[]>([]);
  const change = (patch: Partial<TokenForm>) => setForm((before) => ({ ...before, ...patch }));
  const creating = useAction(async () => {
    const { data } = await api.POST("/api/v1/client-tokens", { body: createBody(form) });
    if (data) {
      setSecret(data.token);
      setUnknown(data.unknown_models ?? []);
      await refresh();
    }
  });
  // A token that is being made is shown once: its dialog must still be there.
  const mayClose = secret === null && !creating.busy;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (form.label.trim() !== "" && !creating.busy) {
      void creating.run();
    }
  };
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={secret === null ? "Create a client token" : `The token “${form.label.trim()}”`}
      closeOnClickOutside={mayClose}
      closeOnEscape={mayClose}
      withCloseButton={mayClose}
    >
      {secret === null ? (
        <form onSubmit={submit} autoComplete="off">
          <Stack gap="sm">
            <TokenFields form={form} onChange={change} />
            {role === "developer" ? (
              <Text size="xs" c="dimmed">
                The token is yours: your preferences hold for its requests.
              </Text>
            ) : (
              <ScopeField
                label="Belongs to"
                description="Its team's or member's preferences, keys and budgets hold for its requests."
                whole="The whole tenant"
                team={form.team}
                member={form.member}
                onChange={change}
              />
            )}
            {creating.error ? <ErrorNotice what="the token" error={creating.error} change /> : null}
            <Group justify="flex-end" gap="xs">
              <Button variant="default" onClick={onClose} disabled={!mayClose}>
                Cancel
              </Button>
              <ActionButton
                operation="create_client_token"
                type="submit"
                loading={creating.busy}
                disabledReason={form.label.trim() === "" ? "Give the token a name." : undefined}
              >
                Create token
              </ActionButton>
            </Group>
          </Stack>
        </form>
      ) : (
        <Stack gap="sm">
          {unknown.length > 0 ? (
            <Alert color="yellow" variant="outline" title="Some models lead nowhere now">
              {unknown.join(", ")}
            </Alert>
          ) : null}
          <OneTimeSecret token={secret} model={form.models[0] ?? model.data ?? "echo"} onStored={onClose} />
        </Stack>
      )}
    </Modal>
  );
}
