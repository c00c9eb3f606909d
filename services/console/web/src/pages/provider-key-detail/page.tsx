import { useNavigate, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { query } from "@/api/client";
import { DeleteKeyDialog } from "@/components/provider-keys/delete-key-dialog";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import { keyState, type ProviderKey } from "@/components/provider-keys/key-status";
import { useAction } from "@/components/use-action";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { ActionButton, ErrorNotice, Page, QueryState, RouteLink, SimpleGrid, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { flag, usePageSearch } from "@/url/search";
import { KeyUsage } from "./key-usage";
import { RotateDialog } from "./rotate-dialog";
import { RotationWatch } from "./rotation-watch";
import { SecretPanel } from "./secret-panel";
import { SettingsPanel } from "./settings-panel";
import { TestPanel } from "./test-panel";
import { watchesRotation } from "./watch";

const SPEC = { rotate: flag() };
const TOPICS = ["keys"] as const;
const PATHS = ["/api/v1/provider-keys"] as const;

/** Does this key work, who uses it, and how is it replaced? */
export default function ProviderKeyDetailPage() {
  const { keyId = "" } = useParams({ strict: false });
  const tenant = useTenant();
  const key = query.useQuery("get", "/api/v1/provider-keys/{key_id}", {
    params: { path: { key_id: keyId } },
  });
  useRefetchOn(TOPICS, PATHS);
  const back = (
    <RouteLink to={tenantPath(tenant, "keys")} inherit underline="always">
      All provider keys
    </RouteLink>
  );
  if (!key.data) {
    return (
      <Page title="Provider key" description={back}>
        <QueryState what="the key" query={key} height={420}>
          {() => null}
        </QueryState>
      </Page>
    );
  }
  return <Detail providerKey={key.data} back={back} />;
}

function Detail({ providerKey, back }: { providerKey: ProviderKey; back: React.ReactNode }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const search = usePageSearch(SPEC);
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const actions = useKeyActions();
  const [deleting, setDeleting] = useState(false);
  const provider = providers.data?.data.find((each) => each.name === providerKey.provider) ?? null;
  const title = provider?.title ?? providerKey.provider;
  const disabled = providerKey.status === "disabled";
  const toggling = useAction(() => actions.setDisabled(providerKey, !disabled));
  const state = keyState(providerKey);
  return (
    <Page
      title={providerKey.label}
      description={
        <>
          {title}. {state.word}
          {state.reason ? `: ${state.reason} ${state.fix}` : "."} {back}
        </>
      }
      actions={
        <>
          <ActionButton
            operation="rotate_provider_key"
            onClick={() => search.change({ rotate: true }, "push")}
          >
            Rotate
          </ActionButton>
          <ActionButton
            operation="edit_provider_key"
            variant="default"
            loading={toggling.busy}
            onClick={() => void toggling.run()}
          >
            {disabled ? "Enable" : "Disable"}
          </ActionButton>
          <ActionButton
            operation="remove_provider_key"
            variant="outline"
            color="red"
            onClick={() => setDeleting(true)}
          >
            Delete
          </ActionButton>
        </>
      }
    >
      <DroppedNotice dropped={search.dropped} />
      {toggling.error ? <ErrorNotice what="this change" error={toggling.error} change /> : null}
      {watchesRotation(providerKey, new Date()) ? (
        <RotationWatch providerKey={providerKey} title={title} keyUrl={provider?.key_url ?? null} />
      ) : null}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Stack>
          <TestPanel providerKey={providerKey} />
          <SecretPanel providerKey={providerKey} />
        </Stack>
        <Stack>
          <KeyUsage keyId={providerKey.key_id} />
          <SettingsPanel providerKey={providerKey} key={providerKey.version} />
        </Stack>
      </SimpleGrid>
      {search.values.rotate ? (
        <RotateDialog
          providerKey={providerKey}
          provider={provider}
          onClose={() => search.change({ rotate: false })}
        />
      ) : null}
      {deleting ? (
        <DeleteKeyDialog
          providerKey={providerKey}
          title={title}
          onClose={() => setDeleting(false)}
          onDeleted={() => void navigate({ href: tenantPath(tenant, "keys") })}
        />
      ) : null}
    </Page>
  );
}
