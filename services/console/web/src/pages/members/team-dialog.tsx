import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { Button, ErrorNotice, Group, Modal, MultiSelect, Stack, TextInput } from "@/ui";
import { memberName } from "./roles";
import { teamChange } from "./team-change";

interface TeamDialogProps {
  /** The team to change; null for a new one. */
  team: Schemas["Team"] | null;
  onClose: () => void;
}

/** Create a team, or change its name and members. */
export function TeamDialog({ team, onClose }: TeamDialogProps) {
  const cache = useQueryClient();
  const before = team?.members ?? [];
  const [id, setId] = useState(team?.team ?? "");
  const [name, setName] = useState(team?.name ?? "");
  const [members, setMembers] = useState<string[]>([...before]);
  const people = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const done = () => {
    void cache.invalidateQueries();
    onClose();
  };
  const creation = query.useMutation("post", "/api/v1/teams", { onSuccess: done });
  const update = query.useMutation("patch", "/api/v1/teams/{team}", { onSuccess: done });
  const error = creation.error ?? update.error;
  const field = error ? asApiError(error).field : null;
  return (
    <Modal opened onClose={onClose} title={team ? `Team ${team.name ?? team.team}` : "Create a team"}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (team) {
            const change = teamChange(before, members);
            update.mutate({ params: { path: { team: team.team } }, body: { name: name || null, ...change } });
          } else {
            creation.mutate({ body: { team: id, name: name || null, members } });
          }
        }}
      >
        <Stack>
          <TextInput
            label="Name in requests, budgets and reports"
            description="Lower-case letters, digits and hyphens. It cannot be changed later."
            required
            disabled={team !== null}
            value={id}
            error={error && field?.endsWith("team") ? asApiError(error).message : null}
            onChange={(event) => setId(event.currentTarget.value.trim())}
            data-autofocus
          />
          <TextInput
            label="Name to show"
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <MultiSelect
            label="Members"
            searchable
            data={(people.data?.data ?? []).map((member) => ({
              value: member.member_id,
              label: memberName(member),
            }))}
            value={members}
            onChange={setMembers}
          />
          {error && !field?.endsWith("team") ? <ErrorNotice what="the team" error={error} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={creation.isPending || update.isPending}>
              {team ? "Save" : "Create team"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
