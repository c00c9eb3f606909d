import { query } from "@/api/client";
import { useAction } from "@/components/use-action";
import { useBreakdown } from "@/components/use-breakdown";
import { ConfirmDialog, QueryState, Stack, Text } from "@/ui";
import { consequence, impactOf } from "./impact";
import { useKeyActions } from "./key-actions";
import { keyState, type ProviderKey } from "./key-status";

interface DeleteKeyDialogProps {
  providerKey: ProviderKey;
  /** The provider's name for people. */
  title: string;
  onClose: () => void;
  onDeleted?: () => void;
}

/** Delete a key: with its name typed if requests use it, else with ten seconds to undo it. */
export function DeleteKeyDialog({ providerKey, title, onClose, onDeleted }: DeleteKeyDialogProps) {
  const usage = useBreakdown({ by: ["operation"], period: "7d", key: [providerKey.key_id], limit: 100 });
  const summary = query.useQuery("get", "/api/v1/provider-keys/summary");
  const tenant = query.useQuery("get", "/api/v1/tenant");
  const actions = useKeyActions();
  const removing = useAction(async () => {
    await actions.remove(providerKey);
    onClose();
    onDeleted?.();
  });
  const impact = usage.data ? impactOf(usage.data) : null;
  const inUse = impact === null || impact.requests > 0;
  const own = summary.data?.by_provider.find((each) => each.provider === providerKey.provider);
  const others = (own?.usable ?? 0) - (isUsable(providerKey) ? 1 : 0);
  const confirm = () => {
    if (inUse) {
      void removing.run();
    } else {
      actions.removeUnlessUndone(providerKey, onDeleted);
      onClose();
    }
  };
  return (
    <ConfirmDialog
      opened
      title={`Delete the key “${providerKey.label}”?`}
      verb="Delete key"
      typeToConfirm={inUse ? providerKey.label : undefined}
      busy={removing.busy}
      error={removing.error}
      onConfirm={confirm}
      onClose={onClose}
    >
      <Stack gap="xs">
        <QueryState what="what uses this key" query={usage} height={48}>
          {(data) => (
            <Text size="sm">
              {consequence(impactOf(data), Math.max(0, others), tenant.data?.key_policy ?? null, title)}
            </Text>
          )}
        </QueryState>
        <Text size="sm">
          The key {providerKey.masked} is destroyed, and cannot be brought back. Anybody who has seen it can
          still use it: delete it at {title} too.
        </Text>
        {inUse && providerKey.status !== "disabled" ? (
          <Text size="sm" c="dimmed">
            To try out what happens without it, disable it first: that can be undone.
          </Text>
        ) : null}
      </Stack>
    </ConfirmDialog>
  );
}

function isUsable(key: ProviderKey): boolean {
  const { kind, word } = keyState(key);
  return kind !== "error" && word !== "Disabled" && word !== "Paused" && word !== "Over its limit";
}
