import { query } from "@/api/client";
import { countOf } from "@/format/numbers";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Panel, QueryState, RouteLink, Stack, StatusMark, Text } from "@/ui";

const TOPICS = ["keys"] as const;
const PATHS = ["/api/v1/provider-keys"] as const;

/** Which keys pay: own ones, the platform's, or none yet. */
export function Preparation() {
  const tenant = useTenant();
  const keys = query.useQuery("get", "/api/v1/provider-keys/summary");
  useRefetchOn(TOPICS, PATHS);
  return (
    <Panel title="Provider keys">
      <QueryState what="the provider keys" query={keys} height={48}>
        {(summary) => (
          <Stack gap={4}>
            <StatusMark kind={summary.usable > 0 ? "ok" : "info"}>
              {summary.usable > 0 ? `${countOf(summary.usable, "own key")} can be used` : "No own key yet"}
            </StatusMark>
            <Text size="sm" c="dimmed">
              {summary.usable > 0
                ? "Requests are billed by the provider to your own account."
                : "The built-in model echo works without one, and so do models that platform credits pay for."}{" "}
              <RouteLink
                to={tenantPath(tenant, summary.keys > 0 ? "keys" : "keys?add=1")}
                inherit
                underline="always"
              >
                {summary.keys > 0 ? "Show the keys" : "Add a key"}
              </RouteLink>
            </Text>
          </Stack>
        )}
      </QueryState>
    </Panel>
  );
}
