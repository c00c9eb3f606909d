import { api } from "@/api/client";
import { type ClientToken, stateOf } from "@/components/client-tokens/token-state";
import { useAction } from "@/components/use-action";
import { useBreakdown } from "@/components/use-breakdown";
import { countOf } from "@/format/numbers";
import { Button, ConfirmDialog, Group, notify, QueryState, Stack, Text } from "@/ui";
import { useRefreshTokens } from "./token-menu";

/** Delete a token, with what it was used for; to disable it, which can be undone, is offered first. */
export function RevokeTokenDialog({ token, onClose }: { token: ClientToken; onClose: () => void }) {
  const refresh = useRefreshTokens();
  const usage = useBreakdown({ by: ["operation"], period: "7d", client_token: [token.token_id], limit: 100 });
  const params = { params: { path: { token_id: token.token_id } } };
  const revoking = useAction(async () => {
    await api.DELETE("/api/v1/client-tokens/{token_id}", params);
    await refresh();
    notify(`Deleted the token ${token.label}.`);
    onClose();
  });
  const disabling = useAction(async () => {
    await api.PATCH("/api/v1/client-tokens/{token_id}", { ...params, body: { disabled: true } });
    await refresh();
    notify(`Disabled the token ${token.label}.`);
    onClose();
  });
  const inUse = usage.data === undefined || usage.data.total.requests > 0;
  return (
    <ConfirmDialog
      opened
      title={`Delete the token “${token.label}”?`}
      verb="Delete token"
      typeToConfirm={inUse ? token.label : undefined}
      busy={revoking.busy}
      error={revoking.error ?? disabling.error}
      onConfirm={() => void revoking.run()}
      onClose={onClose}
    >
      <Stack gap="xs">
        <QueryState what="what uses this token" query={usage} height={24}>
          {({ total, rows, rest_count: more = 0 }) => (
            <Text size="sm">
              {total.requests === 0
                ? "No request used it in the last 7 days."
                : `${countOf(rows.length + more, "operation")} and ${countOf(total.requests, "request")} in 7 days used this token. Programs that have it will fail.`}
            </Text>
          )}
        </QueryState>
        <Text size="sm">A deleted token cannot be brought back.</Text>
        {stateOf(token) === "active" ? (
          <Group gap="xs">
            <Text size="sm" flex={1}>
              To stop it for now, disable it: that can be undone.
            </Text>
            <Button variant="default" size="xs" loading={disabling.busy} onClick={() => void disabling.run()}>
              Disable instead
            </Button>
          </Group>
        ) : null}
      </Stack>
    </ConfirmDialog>
  );
}
