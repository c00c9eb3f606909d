import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { countOf } from "@/format/numbers";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Button,
  type Column,
  ConfirmDialog,
  DataTable,
  Group,
  List,
  Panel,
  Stack,
  StatusMark,
  Text,
  Time,
} from "@/ui";

/** Delete the tenant, and follow how far that is. */
export function DeletionPanel() {
  const tenant = useTenant();
  const access = useAccess("delete_tenant");
  const [opened, setOpened] = useState(false);
  const [started, setStarted] = useState(false);
  const own = query.useQuery("get", "/api/v1/tenant");
  const mayRead = useAccess("get_tenant_deletion").allowed;
  const report = query.useQuery(
    "get",
    "/api/v1/tenant/deletion",
    {},
    // A tenant that nobody deletes has no report, and one that is being deleted is suspended.
    { enabled: mayRead && (started || own.data?.suspended === true), retry: false },
  );
  return (
    <Panel title="Delete the tenant">
      {report.data ? (
        <DeletionReport
          deletion={report.data}
          onRefresh={() => void report.refetch()}
          busy={report.isFetching}
        />
      ) : (
        <Stack gap="sm">
          <Text size="sm">
            Everything of {own.data?.name || tenant} is removed: keys, client tokens, members, rules, requests
            and stored texts. Books of credits and the audit log are kept, as the law and the chain of the log
            need. There is no way back. Export the data first.
          </Text>
          <Group>
            <ActionButton
              operation="delete_tenant"
              color="red.9"
              variant={access.allowed ? "filled" : "default"}
              onClick={() => setOpened(true)}
            >
              Delete tenant
            </ActionButton>
          </Group>
        </Stack>
      )}
      {opened ? (
        <DeleteDialog
          onClose={() => setOpened(false)}
          onStarted={() => {
            setOpened(false);
            setStarted(true);
          }}
        />
      ) : null}
    </Panel>
  );
}

function DeleteDialog({ onClose, onStarted }: { onClose: () => void; onStarted: () => void }) {
  const tenant = useTenant();
  const remove = query.useMutation("post", "/api/v1/tenant/delete");
  const confirm = async () => {
    try {
      await remove.mutateAsync({ body: { confirm: tenant } });
      onStarted();
    } catch {
      // The mutation holds the error, which the dialog shows.
    }
  };
  return (
    <ConfirmDialog
      opened
      title={`Delete the tenant ${tenant}?`}
      verb="Delete tenant"
      typeToConfirm={tenant}
      busy={remove.isPending}
      error={remove.error}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Consequences />
    </ConfirmDialog>
  );
}

function Consequences() {
  const keys = query.useQuery("get", "/api/v1/provider-keys/summary");
  const tokens = query.useQuery("get", "/api/v1/client-tokens", { params: { query: { limit: 1000 } } });
  const usage = query.useQuery("get", "/api/v1/usage/summary", { params: { query: { period: "7d" } } });
  const counted = tokens.data?.data.filter((token) => !token.revoked_at).length;
  return (
    <Stack gap="xs">
      <Text size="sm">All requests of the tenant are refused from that moment on.</Text>
      <List size="sm">
        {usage.data ? (
          <List.Item>
            {countOf(usage.data.total.requests, "request")} in the last 7 days: apps that still send will
            fail.
          </List.Item>
        ) : null}
        {keys.data ? (
          <List.Item>{countOf(keys.data.keys, "provider key")} will be destroyed.</List.Item>
        ) : null}
        {counted === undefined ? null : (
          <List.Item>
            {tokens.data?.next
              ? `More than ${countOf(counted, "client token")}`
              : countOf(counted, "client token")}{" "}
            will stop working.
          </List.Item>
        )}
      </List>
      <Text size="sm">This cannot be undone, and the name is never given again.</Text>
    </Stack>
  );
}

type Erased = Schemas["ErasedRows"] & { service: string };

const COLUMNS: readonly Column<Erased>[] = [
  { id: "service", header: "Service", cell: (row) => row.service, rowHeader: true },
  { id: "table", header: "Table", cell: (row) => row.table },
  { id: "treatment", header: "Rows are", cell: (row) => row.treatment },
  { id: "found", header: "Found", cell: (row) => row.found, numeric: true },
  { id: "left", header: "Left", cell: (row) => row.left, numeric: true },
  { id: "reason", header: "What, and why it is kept", cell: (row) => row.reason },
];

interface DeletionReportProps {
  deletion: Schemas["TenantDeletion"];
  onRefresh: () => void;
  busy: boolean;
}

function DeletionReport({ deletion, onRefresh, busy }: DeletionReportProps) {
  const rows = deletion.parts.flatMap((part) =>
    part.tables.map((table) => ({ ...table, service: part.service })),
  );
  const waiting = deletion.parts.filter((part) => !part.done);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <StatusMark kind={deletion.finished_at ? "ok" : "info"}>
          {deletion.finished_at ? (
            <>
              Deleted <Time iso={deletion.finished_at} />
            </>
          ) : (
            `Being deleted: ${countOf(waiting.length, "service")} not done yet`
          )}
        </StatusMark>
        <Button size="xs" variant="default" onClick={onRefresh} loading={busy}>
          Load again
        </Button>
      </Group>
      <Text size="sm">
        Requested by {deletion.requested_by}, <Time iso={deletion.requested_at} />.
      </Text>
      {waiting.map((part) =>
        part.waits_for ? (
          <Text key={part.service} size="sm">
            {part.service} waits: {part.waits_for}
          </Text>
        ) : null,
      )}
      <DataTable
        caption="What was removed and what was kept"
        columns={COLUMNS}
        rows={rows}
        rowKey={(row) => `${row.service} ${row.table}`}
      />
      <List size="sm">
        {deletion.elsewhere.map((text) => (
          <List.Item key={text}>{text}</List.Item>
        ))}
      </List>
    </Stack>
  );
}
