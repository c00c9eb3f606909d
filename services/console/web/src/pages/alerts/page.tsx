import { useState } from "react";
import { query } from "@/api/client";
import { useRefetchOn } from "@/live/live";
import { useAccess } from "@/session/access";
import { LoadingSkeleton, Page, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import { ChannelsPanel } from "./channels-panel";
import { HistoryPanel, STATES, useAlerts } from "./history-panel";
import { RulesPanel } from "./rules-panel";

const SEARCH = { state: oneOf(STATES, "open") };
const TOPICS = ["alerts"] as const;
const PATHS = ["/api/v1/alerts", "/api/v1/alerts/rules"] as const;

/** What warns, what has warned, and where warnings go. */
export default function AlertsPage() {
  const { values, dropped, change } = usePageSearch(SEARCH);
  useRefetchOn(TOPICS, PATHS);
  const waiting = useFirstLoad();
  return (
    <Page
      title="Alerts"
      description="Rules watch what is spent, what fails and what changes; channels carry what they find."
    >
      <DroppedNotice dropped={dropped} />
      {waiting ? (
        <LoadingSkeleton height={900} label="Loading alerts" />
      ) : (
        <Stack gap="md">
          <HistoryPanel shown={values.state} onShow={(state) => change({ state }, "push")} />
          <RulesPanel />
          <ChannelsPanel />
        </Stack>
      )}
    </Page>
  );
}

/**
 * Return whether the first answers are still awaited: the panels are shown together, since nobody knows their heights before. They
 * ask the same questions, which are sent once. What is shown stays: a panel asks again for what had failed, and would otherwise be
 * taken away while it waits, for ever.
 */
function useFirstLoad(): boolean {
  const channelsAllowed = useAccess("list_channels").allowed;
  const alerts = useAlerts("open");
  const rules = query.useQuery("get", "/api/v1/alerts/rules");
  const metrics = query.useQuery(
    "get",
    "/api/v1/alerts/metrics",
    {},
    { staleTime: Number.POSITIVE_INFINITY },
  );
  const channels = query.useQuery("get", "/api/v1/notification-channels", {}, { enabled: channelsAllowed });
  const pending =
    [alerts, rules, metrics].some((each) => each.isPending) || (channelsAllowed && channels.isPending);
  const [answered, setAnswered] = useState(false);
  if (!pending && !answered) {
    setAnswered(true);
  }
  return pending && !answered;
}
