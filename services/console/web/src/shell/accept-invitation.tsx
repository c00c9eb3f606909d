import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { query } from "@/api/client";
import { tenantPath } from "@/navigation";
import { type Sender, useRefreshSender } from "@/session/session";
import { Button, ErrorNotice, Group, Stack, TextInput } from "@/ui";

/** A field for the code of an invitation; its tenant opens afterwards. */
export function AcceptInvitation({ sender }: { sender: Sender }) {
  const [code, setCode] = useState("");
  const navigate = useNavigate();
  const refresh = useRefreshSender();
  const invitation = query.useMutation("post", "/api/v1/session/invitation", {
    onSuccess: async (membership) => {
      await refresh();
      void navigate({ href: tenantPath(membership.tenant) });
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        // Outside of a tenant's pages no request scope is set.
        invitation.mutate({
          body: { code: code.trim() },
          headers: { "x-csrf-token": sender.csrf_token ?? "" },
        });
      }}
    >
      <Stack gap="sm">
        <Group align="flex-end">
          <TextInput
            label="Code of an invitation"
            placeholder="kfi_…"
            value={code}
            autoComplete="off"
            onChange={(event) => setCode(event.currentTarget.value)}
            w={320}
          />
          <Button type="submit" loading={invitation.isPending} disabled={code.trim() === ""}>
            Accept invitation
          </Button>
        </Group>
        {invitation.error ? <ErrorNotice what="the invitation" error={invitation.error} change /> : null}
      </Stack>
    </form>
  );
}
