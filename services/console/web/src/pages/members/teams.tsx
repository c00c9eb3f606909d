import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import {
  ActionButton,
  Checkbox,
  type Column,
  ConfirmDialog,
  EmptyState,
  Group,
  notify,
  PagedTable,
  Panel,
  Text,
} from "@/ui";
import { TeamDialog } from "./team-dialog";

type Team = Schemas["Team"];
const PAGE_SIZE = 100;

/** The teams of the tenant. */
export function TeamsPanel() {
  const [editing, setEditing] = useState<Team | "new" | null>(null);
  const [deleting, setDeleting] = useState<Team | null>(null);
  const teams = query.useInfiniteQuery(
    "get",
    "/api/v1/teams",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const columns: readonly Column<Team>[] = [
    {
      id: "team",
      header: "Team",
      rowHeader: true,
      cell: (team) => (
        <>
          {team.name ?? team.team}{" "}
          {team.name ? (
            <Text span size="xs" c="dimmed">
              {team.team}
            </Text>
          ) : null}
        </>
      ),
    },
    { id: "members", header: "Members", numeric: true, cell: (team) => team.members?.length ?? 0 },
    {
      id: "actions",
      header: "Actions",
      cell: (team) => (
        <Group gap="xs">
          <ActionButton
            operation="update_team"
            variant="default"
            size="xs"
            aria-label={`Edit the team ${team.team}`}
            onClick={() => setEditing(team)}
          >
            Edit
          </ActionButton>
          <ActionButton
            operation="delete_team"
            variant="default"
            size="xs"
            aria-label={`Delete the team ${team.team}`}
            onClick={() => setDeleting(team)}
          >
            Delete
          </ActionButton>
        </Group>
      ),
    },
  ];
  return (
    <Panel
      title="Teams"
      actions={
        <ActionButton operation="create_team" onClick={() => setEditing("new")}>
          Create team
        </ActionButton>
      }
    >
      <PagedTable
        what="the teams"
        caption="Teams"
        noun="teams"
        height={240}
        query={teams}
        columns={columns}
        rowKey={(team) => team.team}
        empty={
          <EmptyState title="No teams yet">
            A team has preferences, budgets and provider keys of its own, and its usage is counted apart.
          </EmptyState>
        }
      />
      {editing ? (
        <TeamDialog team={editing === "new" ? null : editing} onClose={() => setEditing(null)} />
      ) : null}
      <DeleteTeam team={deleting} onClose={() => setDeleting(null)} />
    </Panel>
  );
}

function DeleteTeam({ team, onClose }: { team: Team | null; onClose: () => void }) {
  const cache = useQueryClient();
  const [force, setForce] = useState(false);
  const deletion = query.useMutation("delete", "/api/v1/teams/{team}", {
    onSuccess: () => {
      notify(`The team ${team?.team ?? ""} is deleted.`);
      void cache.invalidateQueries();
      onClose();
    },
  });
  const inUse = deletion.error !== null && asApiError(deletion.error).status === 409;
  return (
    <ConfirmDialog
      opened={team !== null}
      title={`Delete the team ${team?.name ?? team?.team ?? ""}?`}
      verb="Delete team"
      busy={deletion.isPending}
      error={deletion.error}
      onClose={() => {
        deletion.reset();
        onClose();
      }}
      onConfirm={() => {
        if (team) {
          deletion.mutate({ params: { path: { team: team.team }, query: { force } } });
        }
      }}
    >
      <Text size="sm">
        {team?.members?.length ?? 0} members leave it. A team that client tokens, preferences, budgets, alert
        rules or provider keys name is not deleted, and the answer says which.
      </Text>
      {inUse ? (
        <Checkbox
          mt="sm"
          label="Delete it all the same: these keep its name and go on as before"
          checked={force}
          onChange={(event) => setForce(event.currentTarget.checked)}
        />
      ) : null}
    </ConfirmDialog>
  );
}
