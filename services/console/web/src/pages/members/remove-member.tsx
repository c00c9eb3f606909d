import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { countOf } from "@/format/numbers";
import { Checkbox, ConfirmDialog, notify, Stack, Text } from "@/ui";
import { memberName } from "./roles";

interface RemoveMemberProps {
  member: Schemas["Member"] | null;
  onClose: () => void;
}

/** Ask before a member is removed, and whether their client tokens end as well. */
export function RemoveMember({ member, onClose }: RemoveMemberProps) {
  const cache = useQueryClient();
  const [revoke, setRevoke] = useState(false);
  const removal = query.useMutation("delete", "/api/v1/members/{member_id}", {
    onSuccess: (removed) => {
      const count = removed.client_token_count ?? 0;
      const tokens =
        count === 0
          ? ""
          : ` ${countOf(count, "client token")} ${removed.revoked ? "revoked" : "still valid"}.`;
      notify(`${memberName(removed.member)} is no member any more.${tokens}`);
      void cache.invalidateQueries();
      onClose();
    },
  });
  const name = member ? memberName(member) : "";
  return (
    <ConfirmDialog
      opened={member !== null}
      title={`Remove ${name}?`}
      verb="Remove member"
      busy={removal.isPending}
      error={removal.error}
      onClose={() => {
        removal.reset();
        onClose();
      }}
      onConfirm={() => {
        if (member) {
          removal.mutate({
            params: { path: { member_id: member.member_id }, query: { revoke_tokens: revoke } },
          });
        }
      }}
    >
      <Stack gap="sm">
        <Text size="sm">
          {name} is signed out at once and sees nothing of this tenant any more. Programs that use their
          client tokens go on, unless you revoke these as well.
        </Text>
        <Checkbox
          label="Revoke the client tokens of this member"
          checked={revoke}
          onChange={(event) => setRevoke(event.currentTarget.checked)}
        />
      </Stack>
    </ConfirmDialog>
  );
}
