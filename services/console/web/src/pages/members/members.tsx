import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import { useAccess } from "@/session/access";
import { useSession } from "@/session/session";
import {
  ActionIcon,
  Badge,
  type Column,
  EmptyState,
  Group,
  Menu,
  notify,
  PagedTable,
  Panel,
  Select,
  Stack,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { MoreIcon } from "@/ui/icons";
import { RemoveMember } from "./remove-member";
import { memberName, ROLE_OPTIONS, ROLES } from "./roles";

type Member = Schemas["Member"];
const PAGE_SIZE = 100;

/** The members with their roles. */
export function MembersPanel() {
  const [removing, setRemoving] = useState<Member | null>(null);
  const members = query.useInfiniteQuery(
    "get",
    "/api/v1/members",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const columns: readonly Column<Member>[] = [
    { id: "name", header: "Member", rowHeader: true, cell: (member) => <Person member={member} /> },
    { id: "role", header: "Role", cell: (member) => <RoleChoice member={member} /> },
    { id: "teams", header: "Teams", cell: (member) => <TeamBadges teams={member.teams ?? []} /> },
    { id: "state", header: "State", cell: (member) => <State member={member} /> },
    {
      id: "seen",
      header: "Last signed in",
      cell: ({ last_signed_in_at: seen }) => (seen ? <Time iso={seen} relative /> : "never"),
    },
    {
      id: "actions",
      header: "Actions",
      cell: (member) => <Actions member={member} onRemove={setRemoving} />,
    },
  ];
  return (
    <Panel title="Members">
      <Text size="sm" c="dimmed">
        {ROLES.map((role) => `${role.label}: ${role.may}`).join(". ")}.
      </Text>
      <PagedTable
        what="the members"
        caption="Members"
        noun="members"
        height={320}
        query={members}
        columns={columns}
        rowKey={(member) => member.member_id}
        empty={
          <EmptyState title="No members yet">
            Invite somebody, or let your identity provider name roles. Until then only operators act here.
          </EmptyState>
        }
      />
      <RemoveMember member={removing} onClose={() => setRemoving(null)} />
    </Panel>
  );
}

function Person({ member }: { member: Member }) {
  const { sender } = useSession();
  const own = sender.memberships.some((each) => each.member_id === member.member_id);
  return (
    <Stack gap={0}>
      <Text size="sm" fw={500}>
        {memberName(member)} {own ? "(you)" : ""}
      </Text>
      {member.name && member.email ? (
        <Text size="xs" c="dimmed">
          {member.email}
        </Text>
      ) : null}
    </Stack>
  );
}

/** Return a mutation of a member that says what has failed. */
function useChangeMember() {
  const cache = useQueryClient();
  return query.useMutation("patch", "/api/v1/members/{member_id}", {
    onError: (error) => notify(`Nothing was changed: ${asApiError(error).message}`, "error"),
    onSettled: () =>
      cache.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/members" }),
  });
}

function RoleChoice({ member }: { member: Member }) {
  const access = useAccess("update_member");
  const change = useChangeMember();
  return (
    <Select
      aria-label={`Role of ${memberName(member)}`}
      data={ROLE_OPTIONS}
      value={change.isPending ? (change.variables.body.role ?? member.role) : member.role}
      allowDeselect={false}
      w={140}
      disabled={!access.allowed || change.isPending}
      title={access.reason || undefined}
      onChange={(value) => {
        const role = ROLES.find((each) => each.value === value)?.value;
        if (role && role !== member.role) {
          change.mutate({ params: { path: { member_id: member.member_id } }, body: { role } });
        }
      }}
    />
  );
}

function TeamBadges({ teams }: { teams: readonly string[] }) {
  return (
    <Group gap={4}>
      {teams.map((team) => (
        <Badge key={team} variant="outline" tt="none" color="gray.8" c="inherit">
          {team}
        </Badge>
      ))}
    </Group>
  );
}

function State({ member }: { member: Member }) {
  return member.state === "suspended" ? (
    <StatusMark kind="warning">Suspended</StatusMark>
  ) : (
    <StatusMark kind="ok">Active</StatusMark>
  );
}

function Actions({ member, onRemove }: { member: Member; onRemove: (member: Member) => void }) {
  const access = useAccess("update_member");
  const change = useChangeMember();
  const signOut = query.useMutation("delete", "/api/v1/members/{member_id}/sessions", {
    onError: (error) => notify(`Nobody was signed out: ${asApiError(error).message}`, "error"),
    onSuccess: () => notify(`${memberName(member)} is signed out everywhere.`),
  });
  const path = { member_id: member.member_id };
  const suspended = member.state === "suspended";
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`Actions for ${memberName(member)}`}
          disabled={!access.allowed}
          title={access.reason || undefined}
        >
          <MoreIcon size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          onClick={() =>
            change.mutate({ params: { path }, body: { state: suspended ? "active" : "suspended" } })
          }
        >
          {suspended ? "Activate" : "Suspend"}
        </Menu.Item>
        <Menu.Item onClick={() => signOut.mutate({ params: { path } })}>Sign out everywhere</Menu.Item>
        <Menu.Item onClick={() => onRemove(member)}>Remove…</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
