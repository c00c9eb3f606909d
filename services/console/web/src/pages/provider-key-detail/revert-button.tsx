import { api } from "@/api/client";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { useAction } from "@/components/use-action";
import { ActionButton, ErrorNotice, notify, Stack } from "@/ui";

/** Go back to the key before the last rotation: one click, and the old key is tested before it is used. */
export function RevertButton({ providerKey }: { providerKey: ProviderKey }) {
  const actions = useKeyActions();
  const reverting = useAction(async () => {
    await api.POST("/api/v1/provider-keys/{key_id}/revert", {
      params: { path: { key_id: providerKey.key_id } },
    });
    await actions.refresh();
    notify(`Reverted the key ${providerKey.label}.`);
  });
  return (
    <Stack gap="xs" align="flex-end">
      <ActionButton
        operation="revert_provider_key"
        variant="default"
        size="xs"
        loading={reverting.busy}
        onClick={() => void reverting.run()}
      >
        Revert
      </ActionButton>
      {reverting.error ? <ErrorNotice what="the revert" error={reverting.error} change /> : null}
    </Stack>
  );
}
