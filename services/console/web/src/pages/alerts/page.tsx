import { useRefetchOn } from "@/live/live";
import { Page, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import { ChannelsPanel } from "./channels-panel";
import { HistoryPanel, STATES } from "./history-panel";
import { RulesPanel } from "./rules-panel";

const SEARCH = { state: oneOf(STATES, "open") };
const TOPICS = ["alerts"] as const;
const PATHS = ["/api/v1/alerts", "/api/v1/alerts/rules"] as const;

/** What warns, what has warned, and where warnings go. */
export default function AlertsPage() {
  const { values, dropped, change } = usePageSearch(SEARCH);
  useRefetchOn(TOPICS, PATHS);
  return (
    <Page
      title="Alerts"
      description="Rules watch what is spent, what fails and what changes; channels carry what they find."
    >
      <DroppedNotice dropped={dropped} />
      <Stack gap="md">
        <HistoryPanel shown={values.state} onShow={(state) => change({ state }, "push")} />
        <RulesPanel />
        <ChannelsPanel />
      </Stack>
    </Page>
  );
}
