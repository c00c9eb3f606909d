import { useState } from "react";
import { query } from "@/api/client";
import { asApiError } from "@/api/errors";
import { DeleteKeyDialog } from "@/components/provider-keys/delete-key-dialog";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import { keyState, type ProviderKey } from "@/components/provider-keys/key-status";
import { tenantPath } from "@/navigation";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import {
  ActionIcon,
  Code,
  type Column,
  DataTable,
  Group,
  Loader,
  Menu,
  notify,
  RouteLink,
  Stack,
  StatusMark,
  Text,
  Time,
  UsdText,
} from "@/ui";
import { MoreIcon } from "@/ui/icons";

/** The table of keys with what can be done with each. */
export function KeyTable({ keys }: { keys: readonly ProviderKey[] }) {
  const tenant = useTenant();
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const [deleting, setDeleting] = useState<ProviderKey | null>(null);
  const titles = new Map(providers.data?.data.map((each) => [each.name, each.title]));
  const people = new Map(
    members.data?.data.map((each) => [each.member_id, each.name ?? each.email ?? each.member_id]),
  );
  const columns: Column<ProviderKey>[] = [
    {
      id: "name",
      header: "Name",
      rowHeader: true,
      cell: (key) => (
        <Stack gap={0}>
          <RouteLink to={tenantPath(tenant, `keys/${key.key_id}`)} size="sm" fw={600}>
            {key.label}
          </RouteLink>
          <Text size="xs" c="dimmed">
            {titles.get(key.provider) ?? key.provider}
            {key.name ? ` · ${key.name}` : ""}
          </Text>
        </Stack>
      ),
    },
    {
      id: "key",
      header: "Key",
      cell: (key) => (
        <Stack gap={0}>
          <Code className="nowrap">{key.masked}</Code>
          <Text
            size="xs"
            c="dimmed"
            ff="monospace"
            title="Fingerprint: equal for equal keys, and it reveals nothing of the key"
          >
            {key.fingerprint.slice(0, 8)}
          </Text>
        </Stack>
      ),
    },
    { id: "status", header: "Status", cell: (key) => <Status providerKey={key} /> },
    { id: "scope", header: "Pays for", cell: (key) => <Text size="sm">{scopeOf(key, people)}</Text> },
    { id: "priority", header: "Priority", numeric: true, cell: (key) => key.priority ?? 100 },
    {
      id: "tested",
      header: "Last tested",
      cell: (key) => (key.last_test ? <Time iso={key.last_test.tested_at} relative /> : "never"),
    },
    {
      id: "used",
      header: "Last used",
      cell: (key) => (key.last_used_at ? <Time iso={key.last_used_at} relative /> : "never"),
    },
    { id: "spent", header: "This month", numeric: true, cell: (key) => <Spent providerKey={key} /> },
    {
      id: "actions",
      header: "Actions",
      cell: (key) => <RowMenu providerKey={key} onDelete={() => setDeleting(key)} />,
    },
  ];
  return (
    <>
      <DataTable caption="Provider keys" columns={columns} rows={keys} rowKey={(key) => key.key_id} />
      {deleting ? (
        <DeleteKeyDialog
          providerKey={deleting}
          title={titles.get(deleting.provider) ?? deleting.provider}
          onClose={() => setDeleting(null)}
        />
      ) : null}
    </>
  );
}

function scopeOf(key: ProviderKey, people: ReadonlyMap<string, string>): string {
  if (key.team) {
    return `Team ${key.team}`;
  }
  return key.member ? (people.get(key.member) ?? "A member") : "Everybody";
}

function Status({ providerKey }: { providerKey: ProviderKey }) {
  const state = keyState(providerKey);
  return (
    <Stack gap={0} maw={260}>
      <StatusMark kind={state.kind}>{state.word}</StatusMark>
      {state.reason ? (
        <Text size="xs" c="dimmed">
          {state.reason} {state.fix}
        </Text>
      ) : null}
    </Stack>
  );
}

function Spent({ providerKey }: { providerKey: ProviderKey }) {
  const used = providerKey.spent_usd !== null && providerKey.spent_usd !== undefined;
  return (
    <Stack gap={0} align="flex-end">
      <Text size="sm">
        {used || providerKey.unpriced ? <UsdText dollars={providerKey.spent_usd} /> : <UsdText dollars="0" />}
      </Text>
      {providerKey.monthly_limit_usd ? (
        <Text size="xs" c="dimmed">
          of <UsdText dollars={providerKey.monthly_limit_usd} />
        </Text>
      ) : null}
    </Stack>
  );
}

function RowMenu({ providerKey, onDelete }: { providerKey: ProviderKey; onDelete: () => void }) {
  const tenant = useTenant();
  const actions = useKeyActions();
  const editing = useAccess("edit_provider_key");
  const [busy, setBusy] = useState(false);
  const act = async (work: () => Promise<void>) => {
    setBusy(true);
    try {
      await work();
    } catch (error) {
      notify(`${providerKey.label}: ${asApiError(error).message}`, "error");
    } finally {
      setBusy(false);
    }
  };
  const disabled = providerKey.status === "disabled";
  return (
    <Group gap={4} wrap="nowrap">
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${providerKey.label}`}>
            {busy ? <Loader size={16} aria-label="Working" /> : <MoreIcon size={18} aria-hidden />}
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          {editing.allowed ? null : <Menu.Label>{editing.reason}</Menu.Label>}
          <Menu.Item disabled={!editing.allowed} onClick={() => void act(() => actions.test(providerKey))}>
            Test now
          </Menu.Item>
          <Menu.Item
            component="a"
            href={tenantPath(tenant, `keys/${providerKey.key_id}?rotate=1`)}
            disabled={!editing.allowed}
          >
            Rotate
          </Menu.Item>
          <Menu.Item
            disabled={!editing.allowed}
            onClick={() => void act(() => actions.setDisabled(providerKey, !disabled))}
          >
            {disabled ? "Enable" : "Disable"}
          </Menu.Item>
          <Menu.Divider />
          <Menu.Item disabled={!editing.allowed} color="red" onClick={onDelete}>
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}
