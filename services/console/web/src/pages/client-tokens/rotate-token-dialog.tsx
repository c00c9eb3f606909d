import { useState } from "react";
import { api } from "@/api/client";
import { OneTimeSecret } from "@/components/client-tokens/one-time-secret";
import type { ClientToken } from "@/components/client-tokens/token-state";
import { useUsableModel } from "@/components/client-tokens/usable-model";
import { useAction } from "@/components/use-action";
import { ActionButton, Button, ErrorNotice, Group, Modal, Radio, Stack, Text } from "@/ui";
import { useRefreshTokens } from "./token-menu";

const OVERLAPS = [
  { value: "86400", label: "For one day", description: "Time to deploy the new one everywhere." },
  { value: "604800", label: "For seven days", description: "" },
  { value: "3600", label: "For one hour", description: "" },
  {
    value: "0",
    label: "Not at all",
    description: "If the old one has leaked. Programs that still have it fail at once.",
  },
];

/** Give a token a new secret; the old one is accepted for a while. */
export function RotateTokenDialog({ token, onClose }: { token: ClientToken; onClose: () => void }) {
  const refresh = useRefreshTokens();
  const model = useUsableModel();
  const [overlap, setOverlap] = useState("86400");
  const [secret, setSecret] = useState<string | null>(null);
  const rotating = useAction(async () => {
    const { data } = await api.POST("/api/v1/client-tokens/{token_id}/rotate", {
      params: { path: { token_id: token.token_id } },
      body: { overlap_seconds: Number(overlap) },
    });
    setSecret(data?.token ?? null);
    await refresh();
  });
  // A secret that is being made is shown once: its dialog must still be there.
  const choosing = secret === null && !rotating.busy;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Rotate “${token.label}”`}
      size="lg"
      closeOnClickOutside={choosing}
      closeOnEscape={choosing}
      withCloseButton={choosing}
    >
      {secret === null ? (
        <Stack gap="sm">
          <Text size="sm">The token gets a new secret. Its limits, budgets and usage stay.</Text>
          <Radio.Group
            label="How long is the old secret still accepted?"
            value={overlap}
            onChange={setOverlap}
          >
            <Stack gap="xs" mt="xs">
              {OVERLAPS.map((each) => (
                <Radio
                  key={each.value}
                  value={each.value}
                  label={each.label}
                  description={each.description}
                />
              ))}
            </Stack>
          </Radio.Group>
          {rotating.error ? <ErrorNotice what="the rotation" error={rotating.error} change /> : null}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} disabled={!choosing} data-autofocus>
              Cancel
            </Button>
            <ActionButton
              operation="rotate_client_token"
              loading={rotating.busy}
              onClick={() => void rotating.run()}
            >
              Rotate token
            </ActionButton>
          </Group>
        </Stack>
      ) : (
        <OneTimeSecret
          token={secret}
          model={token.allowed_models?.[0] ?? model.data ?? "echo"}
          onStored={onClose}
        />
      )}
    </Modal>
  );
}
