import { useNavigate } from "@tanstack/react-router";
import { query } from "@/api/client";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { ActionButton, EmptyState, Page, Panel, QueryState, Stack } from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { DroppedNotice } from "@/url/dropped-notice";
import { flag, optionOf, text, usePageSearch } from "@/url/search";
import { AddKeyDialog } from "./add-key/add-key-dialog";
import { KeyList } from "./key-list";
import { ProviderGrid } from "./provider-grid";
import { summarySentence } from "./summary";

const SPEC = {
  provider: text(/^[a-z0-9-]{1,40}$/),
  status: optionOf(["valid", "degraded", "invalid", "untested", "expired", "disabled", "undecryptable"]),
  q: text(),
  add: flag(),
};
const TOPICS = ["keys"] as const;
const PATHS = ["/api/v1/provider-keys"] as const;

/** Do my keys work, and are any about to fail? */
export default function ProviderKeysPage() {
  const tenant = useTenant();
  const navigate = useNavigate();
  const search = usePageSearch(SPEC);
  const summary = query.useQuery("get", "/api/v1/provider-keys/summary");
  useRefetchOn(TOPICS, PATHS);
  const { values, change } = search;
  const addButton = (
    <ActionButton
      operation="add_provider_key"
      leftSection={<PlusIcon size={16} aria-hidden />}
      onClick={() => change({ add: true }, "push")}
    >
      Add key
    </ActionButton>
  );
  return (
    <Page
      title="Provider keys"
      description={
        summary.data ? summarySentence(summary.data) : "The secrets with which providers bill your account."
      }
      actions={addButton}
    >
      <DroppedNotice dropped={search.dropped} />
      <QueryState what="the provider keys" query={summary} height={420}>
        {(data) =>
          data.keys === 0 ? (
            <Panel title="No provider keys yet">
              <EmptyState title="Add the key of a provider to pay it directly" action={addButton}>
                A key is tested with one small call, then stored encrypted. Nobody can read it again, only
                use, replace or delete it. Without one, requests use the platform's keys where your plan
                allows it.
              </EmptyState>
            </Panel>
          ) : (
            <Stack gap="md">
              <ProviderGrid
                summary={data}
                chosen={values.provider}
                onChoose={(provider) => change({ provider })}
              />
              <KeyList values={values} keys={data.keys} onChange={change} />
            </Stack>
          )
        }
      </QueryState>
      <AddKeyDialog
        opened={values.add}
        provider={values.provider}
        onClose={() => change({ add: false })}
        onAdded={(keyId) => void navigate({ href: tenantPath(tenant, `keys/${keyId}`) })}
      />
    </Page>
  );
}
