import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import {
  Button,
  type Column,
  ConfirmDialog,
  EmptyState,
  notify,
  Page,
  PagedTable,
  Panel,
  StatusMark,
  Text,
  TextInput,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { NoParameters } from "@/url/no-parameters";
import { SaveProvider } from "./save-provider";

type Provider = Schemas["ProviderState"];
const PAGE_SIZE = 200;

/** The kinds of providers that this installation knows. */
export default function OpsProvidersPage() {
  const cache = useQueryClient();
  const [saving, setSaving] = useState<Provider | "new" | null>(null);
  const [retiring, setRetiring] = useState<Provider | null>(null);
  const providers = query.useInfiniteQuery(
    "get",
    "/api/v1/ops/providers",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const restoration = query.useMutation("post", "/api/v1/ops/providers/{name}/restore", {
    onError: (error) => notify(`Not restored: ${asApiError(error).message}`, "error"),
    onSuccess: () => void cache.invalidateQueries(),
  });
  const columns: readonly Column<Provider>[] = [
    {
      id: "name",
      header: "Provider",
      rowHeader: true,
      cell: (provider) => (
        <>
          {provider.title}{" "}
          <Text span size="xs" c="dimmed">
            {provider.name}
          </Text>
        </>
      ),
    },
    {
      id: "url",
      header: "Base URL",
      cell: ({ base_url: url }) => <Text size="sm">{url ?? "depends on the key"}</Text>,
    },
    {
      id: "origin",
      header: "From",
      cell: ({ bundled, entry }) => (bundled ? "this version" : (entry?.changed_by ?? "an operator")),
    },
    {
      id: "state",
      header: "State",
      cell: ({ retired, reason }) =>
        retired ? (
          <>
            <StatusMark kind="warning">Retired</StatusMark>
            <Text size="xs" c="dimmed">
              {reason}
            </Text>
          </>
        ) : (
          <StatusMark kind="ok">In use</StatusMark>
        ),
    },
    {
      id: "actions",
      header: "Actions",
      cell: (provider) =>
        provider.retired ? (
          <Button
            variant="default"
            size="xs"
            aria-label={`Restore ${provider.name}`}
            onClick={() => restoration.mutate({ params: { path: { name: provider.name } } })}
          >
            Restore
          </Button>
        ) : (
          <>
            {provider.entry?.added ? (
              <Button
                variant="default"
                size="xs"
                mr="xs"
                aria-label={`Edit ${provider.name}`}
                onClick={() => setSaving(provider)}
              >
                Edit
              </Button>
            ) : null}
            <Button
              variant="default"
              size="xs"
              aria-label={`Retire ${provider.name}`}
              onClick={() => setRetiring(provider)}
            >
              Retire
            </Button>
          </>
        ),
    },
  ];
  return (
    <Page
      title="Providers"
      description="The kinds of providers that tenants can add keys for. A provider with an OpenAI-compatible API can be added."
      actions={
        <Button leftSection={<PlusIcon size={16} aria-hidden />} onClick={() => setSaving("new")}>
          Add provider
        </Button>
      }
    >
      <NoParameters />
      <Panel title="All providers">
        <PagedTable
          what="the providers"
          caption="Providers"
          noun="providers"
          height={400}
          query={providers}
          columns={columns}
          rowKey={(provider) => provider.name}
          empty={<EmptyState title="No providers" />}
        />
      </Panel>
      {saving ? (
        <SaveProvider provider={saving === "new" ? null : saving} onClose={() => setSaving(null)} />
      ) : null}
      {retiring ? <RetireProvider provider={retiring} onClose={() => setRetiring(null)} /> : null}
    </Page>
  );
}

function RetireProvider({ provider, onClose }: { provider: Provider; onClose: () => void }) {
  const cache = useQueryClient();
  const [reason, setReason] = useState("");
  const retirement = query.useMutation("post", "/api/v1/ops/providers/{name}/retire", {
    onSuccess: () => {
      void cache.invalidateQueries();
      onClose();
    },
  });
  return (
    <ConfirmDialog
      opened
      title={`Retire ${provider.title}?`}
      verb="Retire provider"
      busy={retirement.isPending}
      error={retirement.error}
      onClose={onClose}
      onConfirm={() =>
        retirement.mutate({ params: { path: { name: provider.name } }, body: { reason: reason || null } })
      }
    >
      <Text size="sm" mb="sm">
        No request of any tenant is sent to it any more, and nobody can add keys for it. Its keys are kept,
        and it can be restored.
      </Text>
      <TextInput
        label="Reason, for tenants to read"
        value={reason}
        onChange={(event) => setReason(event.currentTarget.value)}
      />
    </ConfirmDialog>
  );
}
