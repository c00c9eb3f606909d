import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import { ActionButton, type Column, EmptyState, notify, PagedTable, Panel, StatusMark, Time } from "@/ui";
import { invitationState } from "./invitation-state";
import { InviteDialog } from "./invite";

type Invitation = Schemas["Invitation"];
const PAGE_SIZE = 100;

const KINDS = { accepted: "ok", revoked: "neutral", expired: "warning", open: "info" } as const;

/** The invitations of the tenant. */
export function InvitationsPanel() {
  const cache = useQueryClient();
  const [inviting, setInviting] = useState(false);
  const invitations = query.useInfiniteQuery(
    "get",
    "/api/v1/invitations",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const revocation = query.useMutation("delete", "/api/v1/invitations/{invitation_id}", {
    onError: (error) => notify(`The invitation stays open: ${asApiError(error).message}`, "error"),
    onSuccess: () => void cache.invalidateQueries(),
  });
  const now = new Date();
  const columns: readonly Column<Invitation>[] = [
    { id: "email", header: "Address", rowHeader: true, cell: (invitation) => invitation.email },
    { id: "role", header: "Role", cell: (invitation) => invitation.role },
    {
      id: "state",
      header: "State",
      cell: (invitation) => {
        const state = invitationState(invitation, now);
        return <StatusMark kind={KINDS[state]}>{state}</StatusMark>;
      },
    },
    { id: "expires", header: "Expires", cell: (invitation) => <Time iso={invitation.expires_at} /> },
    {
      id: "actions",
      header: "Actions",
      cell: (invitation) =>
        invitationState(invitation, now) === "open" ? (
          <ActionButton
            operation="revoke_invitation"
            variant="default"
            size="xs"
            aria-label={`Revoke the invitation of ${invitation.email}`}
            onClick={() =>
              revocation.mutate({ params: { path: { invitation_id: invitation.invitation_id } } })
            }
          >
            Revoke
          </ActionButton>
        ) : null,
    },
  ];
  return (
    <Panel
      title="Invitations"
      actions={
        <ActionButton operation="create_invitation" onClick={() => setInviting(true)}>
          Invite somebody
        </ActionButton>
      }
    >
      <PagedTable
        what="the invitations"
        caption="Invitations"
        noun="invitations"
        height={240}
        query={invitations}
        columns={columns}
        rowKey={(invitation) => invitation.invitation_id}
        empty={
          <EmptyState title="Nobody has been invited">An invitation counts once, for one address.</EmptyState>
        }
      />
      {inviting ? <InviteDialog onClose={() => setInviting(false)} /> : null}
    </Panel>
  );
}
