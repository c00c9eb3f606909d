import { query, type Schemas } from "@/api/client";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import { Box, ErrorNotice, notify, QueryState, SegmentedControl, Text } from "@/ui";

type Use = Schemas["ByokUse"];

const POLICIES: Record<string, string> = {
  platform: "Only the platform's keys may pay.",
  own: "Only own keys may pay.",
  own_then_platform: "Own keys pay; the platform's where they cannot.",
};
const USES: readonly { value: Use; label: string }[] = [
  { value: "default", label: "As installed" },
  { value: "on", label: "On" },
  { value: "off", label: "Off" },
];

/** Whether own provider keys are used at all, and which keys may pay: the operator decides both. */
export function KeyUse() {
  const own = query.useQuery("get", "/api/v1/tenant");
  return (
    <Box mt="md">
      <Text fw={500} size="sm">
        Own provider keys (BYOK)
      </Text>
      <QueryState what="the use of own keys" query={own} height={70}>
        {(tenant) => <UseOf tenant={tenant} onSaved={() => own.refetch()} />}
      </QueryState>
    </Box>
  );
}

function UseOf({ tenant, onSaved }: { tenant: Schemas["TenantView"]; onSaved: () => Promise<unknown> }) {
  const name = useTenant();
  const access = useAccess("update_tenant");
  const update = query.useMutation("patch", "/api/v1/ops/tenants/{tenant}");
  const set = async (byok: Use) => {
    try {
      await update.mutateAsync({ params: { path: { tenant: name } }, body: { byok } });
      notify("Saved. It holds within a second.");
      await onSaved();
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  const policy = tenant.key_policy
    ? POLICIES[tenant.key_policy]
    : "Own keys pay where there is one for the provider.";
  return (
    <>
      <SegmentedControl
        size="xs"
        mt={4}
        aria-label="Use of own provider keys"
        data={[...USES]}
        value={tenant.byok}
        onChange={(use) => void set(use as Use)}
        disabled={!access.allowed || update.isPending}
      />
      <Text size="xs" c="dimmed" mt={4}>
        Key policy: {policy} {access.allowed ? "" : "The operator of the installation decides both."}
      </Text>
      {update.error ? <ErrorNotice what="the use of own keys" error={update.error} change /> : null}
    </>
  );
}
