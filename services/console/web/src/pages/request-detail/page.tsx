import { useParams } from "@tanstack/react-router";
import { query } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useNames } from "@/components/use-names";
import { useLive } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Code, CopyButton, Group, Page, QueryState, RouteLink, SimpleGrid, Text, UsdText } from "@/ui";
import { NoParameters } from "@/url/no-parameters";
import { lastListAddress } from "../requests/neighbours";
import { DetailActions } from "./actions";
import { AttemptTimeline } from "./attempt-timeline";
import { CostPanel } from "./cost-panel";
import { NoRecord } from "./no-record";
import { Rating } from "./rating";
import { type RequestRecords, resultSentence, stateOf } from "./records";
import { StoredContent } from "./stored-content";
import { useNeighbourKeys } from "./use-neighbour-keys";
import { WhatHappened } from "./what-happened";
import { WhyThisModel } from "./why-this-model";
import "./request-detail.css";

/** What one request did: its result, where its time went, why this model, what it cost. */
export default function RequestDetailPage() {
  const { requestId = "" } = useParams({ strict: false });
  useNeighbourKeys(requestId);
  return <RequestDetail id={requestId} key={requestId} />;
}

function RequestDetail({ id }: { id: string }) {
  const tenant = useTenant();
  const records = query.useQuery(
    "get",
    "/api/v1/requests/{request_id}",
    { params: { path: { request_id: id } } },
    { staleTime: 60_000 },
  );
  useLive("requests", ({ requests }) => {
    if (Array.isArray(requests) && requests.some(({ request }) => request?.request_id === id)) {
      void records.refetch();
    }
  });
  const unknown = records.error instanceof ApiError && records.error.status === 404;
  return (
    <Page
      title="Request"
      titleSuffix={
        <Group component="span" display="inline-flex" gap={4}>
          <Code fz="inherit">{id}</Code>
          <CopyButton value={id} label="Copy the request ID" />
        </Group>
      }
      description={records.data ? <Result records={records.data} /> : undefined}
      actions={records.data ? <DetailActions records={records.data} /> : undefined}
    >
      <NoParameters />
      <RouteLink to={lastListAddress(tenantPath(tenant, "requests"))} fz="sm">
        All requests
      </RouteLink>
      {unknown ? (
        <NoRecord id={id} onRetry={() => void records.refetch()} busy={records.isFetching} />
      ) : (
        <QueryState what="the request" query={records} height={640}>
          {(data) => <Details records={data} />}
        </QueryState>
      )}
    </Page>
  );
}

function Result({ records }: { records: RequestRecords }) {
  const tenant = useTenant();
  const { request } = records;
  const trace = request?.trace_id ?? records.attempts[0]?.trace_id;
  return (
    <Group gap={6}>
      <span>{resultSentence(records)}</span>
      {records.attempts.length > 0 ? (
        <span>
          Cost <UsdText dollars={request?.cost_usd} exact />
          {paidWith(request?.key_source)}.
        </span>
      ) : null}
      {trace ? (
        <Group component="span" display="inline-flex" gap={2}>
          <span>
            Trace <span className="tabular">{trace}</span>
          </span>
          <CopyButton value={trace} label="Copy the trace ID" />
          <RouteLink to={tenantPath(tenant, `traces/${encodeURIComponent(records.request_id)}`)} inherit>
            Show its spans
          </RouteLink>
        </Group>
      ) : null}
    </Group>
  );
}

function paidWith(source: string | null | undefined): string {
  switch (source) {
    case "platform":
      return ", paid with credits";
    case "byok":
      return ", billed to your own key";
    case "custom":
      return ", on your own server";
    default:
      return "";
  }
}

function Details({ records }: { records: RequestRecords }) {
  const names = useNames();
  return (
    <div className="request-detail">
      {records.timeline.length > 0 ? <WhatHappened records={records} names={names} /> : null}
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <WhyThisModel records={records} />
        <AttemptTimeline records={records} names={names} />
      </SimpleGrid>
      {records.attempts.length > 0 ? <CostPanel records={records} /> : null}
      <StoredContent records={records} />
      {stateOf(records) === "completed" ? <Rating requestId={records.request_id} /> : null}
      <Labels records={records} names={names} />
    </div>
  );
}

function Labels({ records, names }: { records: RequestRecords; names: ReadonlyMap<string, string> }) {
  const { request } = records;
  if (!request) {
    return null;
  }
  const tags = Object.entries(request.tags ?? {}).map(([name, value]) => `${name}=${String(value)}`);
  const named = (id: string | null | undefined) => (id ? (names.get(id) ?? id) : null);
  const parts = [
    ["Client token", named(request.client_token_id)],
    ["Member", named(request.member)],
    ["Team", request.team],
    ["Operation", request.operation],
    ["Tags", tags.join(", ") || null],
  ].filter((part): part is [string, string] => typeof part[1] === "string");
  return (
    <Text size="sm" c="dimmed">
      {parts.map(([label, value]) => `${label}: ${value}`).join(" · ")}
    </Text>
  );
}
