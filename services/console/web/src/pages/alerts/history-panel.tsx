import { useQueryClient } from "@tanstack/react-query";
import { query, type Schemas } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import {
  ActionButton,
  type Column,
  DataTable,
  EmptyState,
  ErrorNotice,
  LoadMore,
  notify,
  Panel,
  QueryState,
  SegmentedControl,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { formatValue } from "./metrics";

type Alert = Schemas["Alert"];
export const STATES = ["open", "all"] as const;
export type Shown = (typeof STATES)[number];

const SEVERITY = { info: "info", warning: "warning", critical: "error" } as const;

/** Return the pages of alerts, newest first. */
export function useAlerts(shown: Shown) {
  return query.useInfiniteQuery(
    "get",
    "/api/v1/alerts",
    { params: { query: shown === "open" ? { state: "open", limit: 50 } : { limit: 50 } } },
    BY_PAGES,
  );
}

/** What has fired, who has seen it, and when it was over. */
export function HistoryPanel({ shown, onShow }: { shown: Shown; onShow: (shown: Shown) => void }) {
  const alerts = useAlerts(shown);
  return (
    <Panel
      title={shown === "open" ? "Open alerts" : "All alerts"}
      actions={
        <SegmentedControl
          aria-label="Which alerts to show"
          value={shown}
          onChange={(next) => onShow(next as Shown)}
          data={[
            { value: "open", label: "Open" },
            { value: "all", label: "All" },
          ]}
        />
      }
    >
      <QueryState what="the alerts" query={{ ...alerts, isFetching: alerts.isPending }} height={260}>
        {(data) => {
          const rows = data.pages.flatMap((page) => page.alerts);
          return (
            <>
              <DataTable
                caption="Alerts"
                columns={COLUMNS}
                rows={rows}
                rowKey={({ alert_id }) => alert_id}
                empty={
                  <EmptyState title={shown === "open" ? "Nothing is open" : "Nothing has fired yet"}>
                    The rules below are watching.
                  </EmptyState>
                }
              />
              <LoadMore
                shown={rows.length}
                noun="alerts"
                more={alerts.hasNextPage}
                busy={alerts.isFetchingNextPage}
                onMore={() => void alerts.fetchNextPage()}
              />
            </>
          );
        }}
      </QueryState>
    </Panel>
  );
}

const COLUMNS: readonly Column<Alert>[] = [
  {
    id: "title",
    header: "Alert",
    rowHeader: true,
    cell: ({ title, text, severity }) => (
      <>
        <StatusMark kind={SEVERITY[severity]}>{title}</StatusMark>
        <Text span size="sm" c="dimmed" display="block" fw={400}>
          {text}
        </Text>
      </>
    ),
  },
  { id: "rule", header: "Rule", cell: ({ rule_name }) => rule_name },
  {
    id: "value",
    header: "Figure",
    numeric: true,
    cell: ({ value, unit }) => formatValue(value, unit ?? "none"),
  },
  { id: "fired", header: "Fired", cell: ({ fired_at }) => <Time iso={fired_at} relative /> },
  { id: "state", header: "State", cell: (alert) => <AlertState alert={alert} /> },
];

function AlertState({ alert }: { alert: Alert }) {
  const queries = useQueryClient();
  const acknowledge = query.useMutation("post", "/api/v1/alerts/{alert_id}/acknowledge", {
    onSuccess: () => {
      notify("Acknowledged. It stays open until its cause is over.");
      void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/alerts" });
    },
  });
  if (alert.resolved_at) {
    return (
      <>
        Over <Time iso={alert.resolved_at} relative />
      </>
    );
  }
  if (alert.acknowledged_at) {
    return (
      <>
        Seen by {alert.acknowledged_by ?? "somebody"} <Time iso={alert.acknowledged_at} relative />
      </>
    );
  }
  return (
    <>
      <ActionButton
        operation="acknowledge_alert"
        variant="default"
        size="compact-sm"
        loading={acknowledge.isPending}
        aria-label={`Acknowledge ${alert.title}`}
        onClick={() => acknowledge.mutate({ params: { path: { alert_id: alert.alert_id } } })}
      >
        Acknowledge
      </ActionButton>
      {acknowledge.error ? <ErrorNotice what="the alert" error={acknowledge.error} change /> : null}
    </>
  );
}
