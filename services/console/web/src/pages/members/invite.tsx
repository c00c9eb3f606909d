import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query } from "@/api/client";
import { asApiError } from "@/api/errors";
import {
  Alert,
  Button,
  ErrorNotice,
  Group,
  Modal,
  MultiSelect,
  Select,
  Snippet,
  Stack,
  Text,
  TextInput,
} from "@/ui";
import { isAddress, ROLE_OPTIONS, ROLES, type TenantRole } from "./roles";

/** Invite an address; the code is shown once. */
export function InviteDialog({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<TenantRole>("developer");
  const [teams, setTeams] = useState<string[]>([]);
  const [touched, setTouched] = useState(false);
  const known = query.useQuery("get", "/api/v1/teams", { params: { query: { limit: 200 } } });
  const invitation = query.useMutation("post", "/api/v1/invitations", {
    onSuccess: () =>
      void cache.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/invitations" }),
  });
  if (invitation.data) {
    return (
      <Modal opened onClose={onClose} title={`Invitation for ${invitation.data.email}`}>
        <Stack>
          <Alert color="cyan" variant="outline" title="This code is shown once">
            Send it to that person. They sign in with this address and enter it on the first page.
          </Alert>
          <Snippet code={invitation.data.code} label="the code" />
          <Group justify="flex-end">
            <Button onClick={onClose}>I have sent it</Button>
          </Group>
        </Stack>
      </Modal>
    );
  }
  const wrongAddress = touched && !isAddress(email) ? "Enter an address such as ann@example.com" : null;
  const refused = invitation.error ? asApiError(invitation.error) : null;
  return (
    <Modal opened onClose={onClose} title="Invite somebody">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          setTouched(true);
          if (isAddress(email)) {
            invitation.mutate({ body: { email, role, teams } });
          }
        }}
      >
        <Stack>
          <TextInput
            label="Address"
            type="email"
            required
            value={email}
            error={wrongAddress ?? (refused?.field?.endsWith("email") ? refused.message : null)}
            onChange={(event) => setEmail(event.currentTarget.value.trim())}
            onBlur={() => setTouched(email !== "")}
            data-autofocus
          />
          <Select
            label="Role"
            data={ROLE_OPTIONS}
            value={role}
            allowDeselect={false}
            description={ROLES.find((each) => each.value === role)?.may}
            onChange={(value) => setRole(ROLES.find((each) => each.value === value)?.value ?? role)}
          />
          <MultiSelect
            label="Teams"
            data={(known.data?.data ?? []).map((team) => ({
              value: team.team,
              label: team.name ?? team.team,
            }))}
            value={teams}
            onChange={setTeams}
            searchable
          />
          <Text size="xs" c="dimmed">
            It counts once, within a week, for somebody whose identity provider confirms this address.
          </Text>
          {refused && !refused.field?.endsWith("email") ? (
            <ErrorNotice what="the invitation" error={refused} change />
          ) : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={invitation.isPending}>
              Invite
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
