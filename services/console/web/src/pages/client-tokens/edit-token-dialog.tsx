import { type FormEvent, useState } from "react";
import { api } from "@/api/client";
import type { ClientToken } from "@/components/client-tokens/token-state";
import { useAction } from "@/components/use-action";
import { ActionButton, Button, ErrorNotice, Group, Modal, notify, Stack } from "@/ui";
import { TokenFields } from "./token-fields";
import { formOf, updateBody } from "./token-form";
import { useRefreshTokens } from "./token-menu";

/** Change what a token may do. A change acts within a second. */
export function EditTokenDialog({ token, onClose }: { token: ClientToken; onClose: () => void }) {
  const refresh = useRefreshTokens();
  const [before] = useState(() => formOf(token));
  const [form, setForm] = useState(before);
  const body = updateBody(before, form);
  const changed = Object.keys(body).length > 0 && form.label.trim() !== "";
  const saving = useAction(async () => {
    await api.PATCH("/api/v1/client-tokens/{token_id}", {
      params: { path: { token_id: token.token_id } },
      body,
    });
    await refresh();
    notify(`Saved the token ${form.label.trim()}.`);
    onClose();
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (changed && !saving.busy) {
      void saving.run();
    }
  };
  return (
    <Modal opened onClose={onClose} title={`Edit “${token.label}”`} size="lg">
      <form onSubmit={submit} autoComplete="off">
        <Stack gap="sm">
          <TokenFields form={form} onChange={(patch) => setForm((now) => ({ ...now, ...patch }))} />
          {saving.error ? <ErrorNotice what="the token" error={saving.error} change /> : null}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <ActionButton
              operation="update_client_token"
              type="submit"
              loading={saving.busy}
              disabledReason={changed ? undefined : "Nothing is changed."}
            >
              Save
            </ActionButton>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
