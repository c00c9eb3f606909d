import { query } from "@/api/client";
import { formatCredits } from "@/format/credits";
import { countOf } from "@/format/numbers";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Panel, QueryState, RouteLink, StatusMark, Text, UsdText } from "@/ui";

const TOPICS = ["credits"] as const;
const PATHS = ["/api/v1/credits"] as const;

/** How much credit is left, and for how long. */
export function CreditsCard() {
  useRefetchOn(TOPICS, PATHS);
  const tenant = useTenant();
  const credits = query.useQuery("get", "/api/v1/credits");
  return (
    <Panel
      title="Credits"
      actions={
        <RouteLink to={tenantPath(tenant, "credits")} size="sm">
          All about credits
        </RouteLink>
      }
    >
      <QueryState what="the credits" query={{ ...credits, isFetching: credits.isPending }} height={90}>
        {(data) => (
          <div>
            <Text fz={26} lh={1.3} fw={700} component="div">
              <UsdText dollars={data.balance_usd} />
            </Text>
            <Text size="sm" c="dimmed">
              {formatCredits(data.available)} credits available
              {data.days_left === null || data.days_left === undefined
                ? "."
                : `, for about ${countOf(data.days_left, "day")} at the rate of the last seven.`}
            </Text>
            {data.state === "low" ? <StatusMark kind="warning">Low</StatusMark> : null}
            {data.state === "empty" ? <StatusMark kind="error">Used up</StatusMark> : null}
          </div>
        )}
      </QueryState>
    </Panel>
  );
}
