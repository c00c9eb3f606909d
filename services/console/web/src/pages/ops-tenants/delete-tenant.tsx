import { useQueryClient } from "@tanstack/react-query";
import { query, type Schemas } from "@/api/client";
import { asJson } from "@/api/json";
import { formatCount } from "@/format/numbers";
import { ConfirmDialog, notify, Text } from "@/ui";

interface DeleteTenantProps {
  tenant: Schemas["Tenant"];
  onClose: () => void;
}

/** Ask before a tenant is deleted, with what it has used in the last 30 days. */
export function DeleteTenant({ tenant, onClose }: DeleteTenantProps) {
  const cache = useQueryClient();
  const usage = query.useQuery("get", "/api/v1/ops/usage/breakdown", {
    params: { query: { by: ["tenant"], tenant: [tenant.tenant], period: "30d" } },
  });
  const deletion = query.useMutation("delete", "/api/v1/ops/tenants/{tenant}", {
    onSuccess: () => {
      notify(`${tenant.name} is being deleted. Its keys can no longer be read.`);
      void cache.invalidateQueries();
      onClose();
    },
  });
  const requests = usage.data === undefined ? undefined : asJson(usage.data).total.requests;
  return (
    <ConfirmDialog
      opened
      title={`Delete ${tenant.name}?`}
      verb="Delete tenant"
      typeToConfirm={tenant.tenant}
      busy={deletion.isPending}
      error={deletion.error}
      onClose={onClose}
      onConfirm={() =>
        deletion.mutate({ params: { path: { tenant: tenant.tenant } }, body: { confirm: tenant.tenant } })
      }
    >
      <Text size="sm">
        {requests === undefined
          ? "Counting its requests of the last 30 days."
          : `It has sent ${formatCount(requests)} requests in the last 30 days. They will fail.`}{" "}
        Its provider keys and its stored content are destroyed at once and cannot be restored. Records of what
        was paid are kept without personal data.
      </Text>
    </ConfirmDialog>
  );
}
