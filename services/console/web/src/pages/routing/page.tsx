import { query } from "@/api/client";
import { useRefetchOn } from "@/live/live";
import { Page, QueryState, Tabs } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { integer, oneOf, usePageSearch } from "@/url/search";
import { OperationsTab } from "./operations-tab";
import { RulesTab } from "./rules-tab";
import { VersionsTab } from "./versions-tab";
import "./routing.css";

const TABS = ["operations", "rules", "versions"] as const;
const SPEC = {
  tab: oneOf(TABS, "operations"),
  version: integer(0, 0, Number.MAX_SAFE_INTEGER),
};
const TOPICS = ["rules"] as const;
const PATHS = ["/api/v1/routing/rules", "/api/v1/preferences", "/api/v1/power-level/comparison"] as const;

/** For each operation: what runs, and what happens when it fails. */
export default function RoutingPage() {
  const { values, dropped, change } = usePageSearch(SPEC);
  useRefetchOn(TOPICS, PATHS);
  const rules = query.useQuery("get", "/api/v1/routing/rules", { params: { query: {} } });
  const preferences = query.useQuery("get", "/api/v1/preferences", { params: { query: {} } });
  return (
    <Page
      title="Models and routing"
      description="For each operation: which model runs, whose key pays, and what follows when it fails."
    >
      <DroppedNotice dropped={dropped} />
      <Tabs
        value={values.tab}
        onChange={(tab) =>
          change({ tab: TABS.find((each) => each === tab) ?? "operations", version: 0 }, "push")
        }
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="operations">Operations</Tabs.Tab>
          <Tabs.Tab value="rules">{rules.data?.draft ? "Rules (draft)" : "Rules"}</Tabs.Tab>
          <Tabs.Tab value="versions">Versions</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="operations">
          <QueryState what="the routing of your operations" query={rules} height={480}>
            {(loaded) => (
              <QueryState what="the preferences" query={preferences} height={480}>
                {(found) => (
                  <OperationsTab
                    rules={loaded.version?.rule_set.rules ?? []}
                    preferences={found}
                    onSaved={() => preferences.refetch()}
                  />
                )}
              </QueryState>
            )}
          </QueryState>
        </Tabs.Panel>
        <Tabs.Panel value="rules">
          {/* Not within QueryState, which dims its content while it loads again: somebody types here. */}
          {rules.data ? (
            <RulesTab
              loaded={rules.data}
              operations={operationsOf(preferences.data?.effective.map(({ name }) => name) ?? [])}
              onReload={async () => (await rules.refetch()).data}
            />
          ) : (
            <QueryState what="the rules" query={rules} height={480}>
              {() => null}
            </QueryState>
          )}
        </Tabs.Panel>
        <Tabs.Panel value="versions">
          <VersionsTab
            published={rules.data?.published ?? 0}
            shown={values.version}
            onShow={(version) => change({ version }, version === 0 ? "replace" : "push")}
          />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function operationsOf(names: readonly string[]): string[] {
  return [...new Set(names.flatMap((name) => /^mod(?:e|el)_by_operation\.(.+)$/.exec(name)?.[1] ?? []))];
}
