import { operatorPath, tenantPath } from "@/navigation";
import type { Sender } from "@/session/session";
import { Center, EmptyState, RouteLink, Stack, Title } from "@/ui";
import { AcceptInvitation } from "./accept-invitation";

/** The page for somebody who may not see what the address names, or for whom it does not exist. */
export function NotMember({ sender, tenant }: { sender: Sender; tenant: string | null }) {
  return (
    <Center component="main" mih="100vh" p="md">
      <Stack align="center">
        <Title order={1}>Keyferry</Title>
        <EmptyState
          title={tenant === null ? "This page is for operators" : "You are no member of this tenant"}
        >
          {tenant === null
            ? "Operators of the installation see it. Your identity provider says who is one."
            : "It may not exist, or nobody has invited you. An owner or admin of the tenant can."}
        </EmptyState>
        {sender.session ? <AcceptInvitation sender={sender} /> : null}
        {sender.memberships.map((member) => (
          <RouteLink key={member.tenant} to={tenantPath(member.tenant)}>
            Open {member.tenant}
          </RouteLink>
        ))}
        {sender.operator ? (
          <RouteLink to={operatorPath("tenants")}>Open the list of tenants</RouteLink>
        ) : null}
      </Stack>
    </Center>
  );
}
