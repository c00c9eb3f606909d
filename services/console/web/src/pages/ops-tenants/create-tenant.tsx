import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query } from "@/api/client";
import { asApiError } from "@/api/errors";
import { Button, ErrorNotice, Group, Modal, notify, Select, Stack, TextInput } from "@/ui";
import { TIERS, type TierName } from "./tiers";

/** Create a tenant. */
export function CreateTenant({ onClose }: { onClose: () => void }) {
  const cache = useQueryClient();
  const [id, setId] = useState("");
  const [name, setName] = useState("");
  const [tier, setTier] = useState<TierName>("free");
  const creation = query.useMutation("post", "/api/v1/ops/tenants", {
    onSuccess: (tenant) => {
      notify(`${tenant.name} is there. Its first owner signs in, or is invited on its page of members.`);
      void cache.invalidateQueries();
      onClose();
    },
  });
  const refused = creation.error ? asApiError(creation.error) : null;
  const idError = refused?.field?.endsWith("tenant") ? refused.message : null;
  return (
    <Modal opened onClose={onClose} title="Create a tenant">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          creation.mutate({ body: { tenant: id, name: name || null, tier } });
        }}
      >
        <Stack>
          <TextInput
            label="Id"
            description="Lower-case letters, digits and hyphens; it stands in addresses and cannot be changed"
            required
            value={id}
            error={idError}
            onChange={(event) => setId(event.currentTarget.value.trim())}
            data-autofocus
          />
          <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} />
          <Select
            label="Tier"
            data={TIERS}
            value={tier}
            allowDeselect={false}
            onChange={(value) => setTier(TIERS.find((each) => each === value) ?? tier)}
          />
          {refused && !idError ? <ErrorNotice what="the tenant" error={refused} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={creation.isPending}>
              Create tenant
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
