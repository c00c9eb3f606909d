import { query } from "@/api/client";
import { countOf, formatCount } from "@/format/numbers";
import { Panel, Progress, QueryState, Text, Time } from "@/ui";

/** The free requests of this month. */
export function AllowancePanel() {
  const allowance = query.useQuery("get", "/api/v1/allowance");
  return (
    <Panel title="Free requests">
      <QueryState
        what="the free requests"
        query={{ ...allowance, isFetching: allowance.isPending }}
        height={70}
      >
        {(data) =>
          data.requests === 0 ? (
            <Text size="sm">Your plan has none.</Text>
          ) : (
            <>
              <Text size="sm">
                {formatCount(data.used)} of {countOf(data.requests, "free request")} used in {data.month}{" "}
                (UTC), {formatCount(data.left)} left.
              </Text>
              <Progress
                my={6}
                value={Math.min(100, (data.used / data.requests) * 100)}
                aria-label={`${data.used} of ${data.requests} free requests used`}
              />
              <Text size="xs" c="dimmed">
                They begin anew on <Time iso={data.resets_at} />.
              </Text>
              {data.notice ? <Text size="sm">{data.notice}</Text> : null}
            </>
          )
        }
      </QueryState>
    </Panel>
  );
}
