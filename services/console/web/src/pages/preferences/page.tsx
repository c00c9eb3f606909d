import { query, type Schemas } from "@/api/client";
import {
  isComplete,
  kindInWords,
  SCOPE_SPEC,
  type Scope,
  ScopePicker,
  scopeQuery,
} from "@/components/scope-picker";
import { useAccess } from "@/session/access";
import { EmptyState, Page, Panel, QueryState, RouteLink, Stack, Text } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { labelOf } from "./fields";
import { PreferencesForm } from "./form";

/** What a request gets where it says nothing itself. */
export default function PreferencesPage() {
  const { values, dropped, change, href } = usePageSearch(SCOPE_SPEC);
  const scope: Scope = { kind: values.scope, id: values.scope === "tenant" ? "" : values.id };
  return (
    <Page
      title="Preferences"
      description="What a request gets where it says nothing itself. The narrowest scope wins: client token, member, team, tenant, installation."
    >
      <DroppedNotice dropped={dropped} />
      <Stack gap="md">
        <ScopePicker scope={scope} onChange={(next) => change({ scope: next.kind, id: next.id }, "push")} />
        {isComplete(scope) ? (
          <ScopeForm key={`${scope.kind} ${scope.id}`} scope={scope} />
        ) : (
          <EmptyState title={`Choose a ${kindInWords(scope.kind)} above`}>
            What is set for it overrides what is set for the tenant.
          </EmptyState>
        )}
        <SavedScopesPanel
          current={scope}
          hrefOf={(kind, id) => href({ scope: kind, id: kind === "tenant" ? "" : id })}
        />
      </Stack>
    </Page>
  );
}

function ScopeForm({ scope }: { scope: Scope }) {
  const loaded = query.useQuery("get", "/api/v1/preferences", { params: { query: scopeQuery(scope) } });
  const above = useScopesAbove(scope);
  const { data } = above;
  return (
    <QueryState what="the preferences" query={loaded} height={900}>
      {(found) => (
        <PreferencesForm
          scope={scope}
          loaded={found}
          above={scope.kind === "tenant" ? null : (data?.effective ?? null)}
          onReload={async () => (await loaded.refetch()).data}
        />
      )}
    </QueryState>
  );
}

/** Return the query for what holds without the scope itself: for a client token that of its team and member. */
function useScopesAbove(scope: Scope) {
  const mayList = useAccess("list_client_tokens").allowed;
  const ofToken = scope.kind === "client_token" && mayList;
  const token = query.useQuery(
    "get",
    "/api/v1/client-tokens/{token_id}",
    { params: { path: { token_id: scope.id } } },
    { enabled: ofToken },
  );
  const above = {
    ...(token.data?.team ? { team: token.data.team } : {}),
    ...(token.data?.member ? { member: token.data.member } : {}),
  };
  return query.useQuery(
    "get",
    "/api/v1/preferences",
    { params: { query: ofToken ? above : {} } },
    { enabled: scope.kind !== "tenant" && (!ofToken || token.data !== undefined) },
  );
}

interface SavedScopesPanelProps {
  current: Scope;
  hrefOf: (kind: Scope["kind"], id: string) => string;
}

function SavedScopesPanel({ current, hrefOf }: SavedScopesPanelProps) {
  const scopes = query.useQuery("get", "/api/v1/preferences/scopes");
  return (
    <Panel title="Where anything is set">
      <QueryState what="the scopes" query={scopes} height={80}>
        {(data) =>
          data.scopes.length === 0 ? (
            <Text size="sm" c="dimmed">
              Nothing is set yet: every request gets the defaults of Keyferry.
            </Text>
          ) : (
            <Stack gap={6}>
              {data.scopes.map((saved) => (
                <SavedScope
                  key={`${saved.scope} ${saved.scope_id}`}
                  saved={saved}
                  current={current}
                  hrefOf={hrefOf}
                />
              ))}
            </Stack>
          )
        }
      </QueryState>
    </Panel>
  );
}

function SavedScope({
  saved,
  current,
  hrefOf,
}: SavedScopesPanelProps & { saved: Schemas["SavedPreferences"] }) {
  const names = Object.entries(saved.preferences)
    .filter(([, value]) => value !== null)
    .map(([name]) => labelOf(name));
  const title = saved.scope === "platform" ? "Installation" : `${kindInWords(saved.scope)} ${saved.scope_id}`;
  const isCurrent =
    saved.scope === current.kind && (saved.scope === "tenant" || saved.scope_id === current.id);
  return (
    <Text size="sm">
      {saved.scope === "platform" ? (
        title
      ) : (
        <RouteLink
          underline="always"
          to={hrefOf(saved.scope, saved.scope_id)}
          aria-current={isCurrent ? "page" : undefined}
        >
          {title}
        </RouteLink>
      )}
      : {names.join(", ") || "nothing any more"}
    </Text>
  );
}
