import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import { tenantPath } from "@/navigation";
import {
  ActionIcon,
  Button,
  type Column,
  EmptyState,
  Menu,
  notify,
  Page,
  PagedTable,
  Panel,
  RouteLink,
  StatusMark,
  Text,
} from "@/ui";
import { MoreIcon, PlusIcon } from "@/ui/icons";
import { NoParameters } from "@/url/no-parameters";
import { CreateTenant } from "./create-tenant";
import { DeleteTenant } from "./delete-tenant";
import { EditTenant } from "./edit-tenant";

type Tenant = Schemas["Tenant"];
const PAGE_SIZE = 100;

/** All tenants of the installation. */
export default function OpsTenantsPage() {
  const [creating, setCreating] = useState(false);
  const [editing, setEditing] = useState<Tenant | null>(null);
  const [deleting, setDeleting] = useState<Tenant | null>(null);
  const tenants = query.useInfiniteQuery(
    "get",
    "/api/v1/ops/tenants",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const columns: readonly Column<Tenant>[] = [
    {
      id: "tenant",
      header: "Tenant",
      rowHeader: true,
      cell: (tenant) => (
        <>
          <RouteLink to={tenantPath(tenant.tenant)}>{tenant.name}</RouteLink>{" "}
          <Text span size="xs" c="dimmed">
            {tenant.tenant}
          </Text>
        </>
      ),
    },
    { id: "state", header: "State", cell: (tenant) => <State tenant={tenant} /> },
    { id: "tier", header: "Tier", cell: (tenant) => tenant.tier },
    { id: "byok", header: "Own keys", cell: (tenant) => BYOK[tenant.byok ?? "default"] },
    { id: "zone", header: "Billing zone", cell: (tenant) => tenant.time_zone ?? "UTC" },
    {
      id: "actions",
      header: "Actions",
      cell: (tenant) => <Actions tenant={tenant} onEdit={setEditing} onDelete={setDeleting} />,
    },
  ];
  return (
    <Page
      title="Tenants"
      description="Opening a tenant acts for it as an operator: what you read and change there is recorded in its audit log."
      actions={
        <Button leftSection={<PlusIcon size={16} aria-hidden />} onClick={() => setCreating(true)}>
          Create tenant
        </Button>
      }
    >
      <NoParameters />
      <Panel title="All tenants">
        <PagedTable
          what="the tenants"
          caption="Tenants"
          noun="tenants"
          height={400}
          query={tenants}
          columns={columns}
          rowKey={(tenant) => tenant.tenant}
          empty={<EmptyState title="No tenants yet">Create one to begin.</EmptyState>}
        />
      </Panel>
      {creating ? <CreateTenant onClose={() => setCreating(false)} /> : null}
      {editing ? <EditTenant tenant={editing} onClose={() => setEditing(null)} /> : null}
      {deleting ? <DeleteTenant tenant={deleting} onClose={() => setDeleting(null)} /> : null}
    </Page>
  );
}

const BYOK = { on: "allowed", off: "not allowed", default: "as the tier says" } as const;

function State({ tenant }: { tenant: Tenant }) {
  if (tenant.deleted_at) {
    return <StatusMark kind="error">Deleted</StatusMark>;
  }
  return tenant.suspended ? (
    <StatusMark kind="warning">Suspended</StatusMark>
  ) : (
    <StatusMark kind="ok">Active</StatusMark>
  );
}

interface ActionsProps {
  tenant: Tenant;
  onEdit: (tenant: Tenant) => void;
  onDelete: (tenant: Tenant) => void;
}

function Actions({ tenant, onEdit, onDelete }: ActionsProps) {
  const cache = useQueryClient();
  const update = query.useMutation("patch", "/api/v1/ops/tenants/{tenant}", {
    onError: (error) => notify(`${tenant.name} was not changed: ${asApiError(error).message}`, "error"),
    onSuccess: () => void cache.invalidateQueries(),
  });
  const suspended = tenant.suspended ?? false;
  if (tenant.deleted_at) {
    return null;
  }
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`Actions for ${tenant.tenant}`}
          loading={update.isPending}
        >
          <MoreIcon size={18} aria-hidden />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => onEdit(tenant)}>Edit…</Menu.Item>
        <Menu.Item
          onClick={() =>
            update.mutate({ params: { path: { tenant: tenant.tenant } }, body: { suspended: !suspended } })
          }
        >
          {suspended ? "Let it send requests again" : "Suspend"}
        </Menu.Item>
        <Menu.Item onClick={() => onDelete(tenant)}>Delete…</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
