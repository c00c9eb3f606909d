import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { Button, ErrorNotice, Group, Modal, Select, Stack, TextInput } from "@/ui";
import { TIERS, type TierName } from "./tiers";

type Tenant = Schemas["Tenant"];
const BYOK = [
  { value: "default", label: "As the tier says" },
  { value: "on", label: "Allowed" },
  { value: "off", label: "Not allowed" },
] as const;

/** Change name, tier, zone and the use of own keys of a tenant. */
export function EditTenant({ tenant, onClose }: { tenant: Tenant; onClose: () => void }) {
  const cache = useQueryClient();
  const [name, setName] = useState(tenant.name);
  const [zone, setZone] = useState(tenant.time_zone ?? "UTC");
  const [tier, setTier] = useState<TierName>(tenant.tier);
  const [byok, setByok] = useState(tenant.byok ?? "default");
  const update = query.useMutation("patch", "/api/v1/ops/tenants/{tenant}", {
    onSuccess: () => {
      void cache.invalidateQueries();
      onClose();
    },
  });
  return (
    <Modal opened onClose={onClose} title={`Edit ${tenant.name}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          update.mutate({
            params: { path: { tenant: tenant.tenant } },
            body: { name, tier, byok, time_zone: zone },
          });
        }}
      >
        <Stack>
          <TextInput
            label="Name"
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
          />
          <Select
            label="Tier"
            data={TIERS}
            value={tier}
            allowDeselect={false}
            onChange={(value) => setTier(TIERS.find((each) => each === value) ?? tier)}
          />
          <Select
            label="Own provider keys"
            data={BYOK}
            value={byok}
            allowDeselect={false}
            onChange={(value) => setByok(BYOK.find((each) => each.value === value)?.value ?? byok)}
          />
          <Select
            label="Billing zone"
            description="Days of usage, budgets and statements begin at midnight there"
            data={Intl.supportedValuesOf("timeZone").concat("UTC")}
            value={zone}
            searchable
            allowDeselect={false}
            onChange={(value) => setZone(value ?? zone)}
          />
          {update.error ? <ErrorNotice what="the tenant" error={update.error} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={update.isPending}>
              Save
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
