import { useParams } from "@tanstack/react-router";
import { query } from "@/api/client";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import {
  Button,
  Code,
  CopyButton,
  EmptyState,
  Group,
  Page,
  Panel,
  QueryState,
  RouteLink,
  Text,
  Time,
} from "@/ui";
import { NoParameters } from "@/url/no-parameters";
import { WhyThisModel } from "../request-detail/why-this-model";
import { type Trace, traceSentence } from "./span-rows";
import { SpanWaterfall } from "./span-waterfall";
import "./trace.css";

/** Where the time of a request went, span by span, beside why it went there. */
export default function TracePage() {
  const { trace = "" } = useParams({ strict: false });
  return <TraceOf id={trace} key={trace} />;
}

function TraceOf({ id }: { id: string }) {
  const tenant = useTenant();
  const trace = query.useQuery(
    "get",
    "/api/v1/traces/{trace}",
    { params: { path: { trace: id } } },
    { staleTime: 10_000 },
  );
  const request = trace.data?.request_id;
  return (
    <Page
      title="Trace"
      titleSuffix={
        <Group component="span" display="inline-flex" gap={4}>
          <Code fz="inherit">{trace.data?.trace_id ?? id}</Code>
          <CopyButton value={trace.data?.trace_id ?? id} label="Copy the ID" />
        </Group>
      }
      description={trace.data ? <Summary trace={trace.data} /> : undefined}
    >
      <NoParameters />
      {request ? (
        <RouteLink to={tenantPath(tenant, `requests/${encodeURIComponent(request)}`)} fz="sm">
          Request {request}
        </RouteLink>
      ) : null}
      <QueryState what="the trace" query={trace} height={640}>
        {(data) =>
          data.absent ? (
            <Absent absent={data.absent} busy={trace.isFetching} onRetry={() => void trace.refetch()} />
          ) : (
            <div className="trace-panels">
              <SpanWaterfall trace={data} />
              {data.request_id ? <Decision requestId={data.request_id} /> : null}
            </div>
          )
        }
      </QueryState>
    </Page>
  );
}

function Summary({ trace }: { trace: Trace }) {
  return trace.began_at ? (
    <>
      {traceSentence(trace)} Began <Time iso={trace.began_at} />.
    </>
  ) : (
    "No span is stored."
  );
}

interface AbsentProps {
  absent: NonNullable<Trace["absent"]>;
  busy: boolean;
  onRetry: () => void;
}

function Absent({ absent, busy, onRetry }: AbsentProps) {
  const sentence = `${absent.what.charAt(0).toUpperCase()}${absent.what.slice(1)}`;
  return (
    <Panel title="No spans">
      <EmptyState
        title={sentence}
        action={
          <Button variant="default" onClick={onRetry} loading={busy}>
            Look again
          </Button>
        }
      >
        {absent.detail.replaceAll("`", "")}.
      </EmptyState>
    </Panel>
  );
}

/** Why the model was chosen: the decision belongs beside the time it took. */
function Decision({ requestId }: { requestId: string }) {
  const records = query.useQuery(
    "get",
    "/api/v1/requests/{request_id}",
    { params: { path: { request_id: requestId } } },
    { staleTime: 60_000, retry: false },
  );
  if (records.error && !records.data) {
    return (
      <Panel title="Why this model">
        <Text size="sm">The decision is not recorded, or not recorded yet.</Text>
      </Panel>
    );
  }
  return (
    <QueryState what="the decision" query={records} height={240}>
      {(data) => <WhyThisModel records={data} />}
    </QueryState>
  );
}
