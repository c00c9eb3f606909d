import { query } from "@/api/client";
import { OutcomeMark } from "@/components/outcome-mark";
import type { LoggedRequest } from "@/components/request-words";
import { formatDuration } from "@/format/duration";
import { formatCompact } from "@/format/numbers";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { type Column, DataTable, EmptyState, QueryState, RouteLink, Time, UsdText } from "@/ui";

const SHOWN = 8;
const TOPICS = ["requests"] as const;
const PATHS = ["/api/v1/requests"] as const;

/** The latest requests, as they come. */
export function RecentRequests() {
  useRefetchOn(TOPICS, PATHS);
  const tenant = useTenant();
  const recent = query.useQuery("get", "/api/v1/requests", { params: { query: { limit: SHOWN } } });
  return (
    <QueryState what="the latest requests" query={{ ...recent, isFetching: recent.isPending }} height={380}>
      {(data) => (
        <DataTable
          caption="The latest requests"
          columns={columnsOf(tenant)}
          rows={data.data}
          rowKey={(request) => request.request_id}
          empty={
            <EmptyState
              title="No requests yet"
              action={<RouteLink to={tenantPath(tenant, "quick-start")}>Send a first request</RouteLink>}
            >
              They appear here about a second after they have ended.
            </EmptyState>
          }
        />
      )}
    </QueryState>
  );
}

function columnsOf(tenant: string): readonly Column<LoggedRequest>[] {
  return [
    {
      id: "time",
      header: "Time",
      rowHeader: true,
      cell: (request) => (
        <RouteLink to={tenantPath(tenant, `requests/${request.request_id}`)} inherit>
          <Time iso={request.started_at} />
        </RouteLink>
      ),
    },
    {
      id: "outcome",
      header: "Status",
      cell: (request) => <OutcomeMark outcome={request.outcome} errorClass={request.error_class} />,
    },
    { id: "model", header: "Model", cell: (request) => request.model_served ?? request.model_asked },
    {
      id: "tokens",
      header: "Tokens",
      numeric: true,
      cell: (request) => formatCompact(request.tokens ?? 0),
    },
    {
      id: "cost",
      header: "Cost",
      numeric: true,
      cell: (request) => (request.attempts?.length ? <UsdText dollars={request.cost_usd} exact /> : "–"),
    },
    {
      id: "latency",
      header: "Latency",
      numeric: true,
      cell: (request) =>
        request.latency_ms === null || request.latency_ms === undefined
          ? "–"
          : formatDuration(request.latency_ms),
    },
  ];
}
