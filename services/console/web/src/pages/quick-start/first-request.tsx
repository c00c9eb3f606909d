import { useState } from "react";
import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { useLive, useLiveStatus } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Alert, Group, Loader, Panel, RouteLink, Stack, StatusMark, Text, UsdText } from "@/ui";

interface FirstRequestProps {
  /** The token whose request is waited for; null before there is one. */
  tokenId: string | null;
  /** Whether any request of the tenant counts. */
  anyToken: boolean;
}

/** Wait for the first request, and show it as soon as the ledger has it. */
export function FirstRequest({ tokenId, anyToken }: FirstRequestProps) {
  const tenant = useTenant();
  const { status } = useLiveStatus();
  const [found, setFound] = useState<Schemas["LoggedRequest"] | null>(null);
  const listening = tokenId !== null || anyToken;
  useLive("requests", ({ requests }) => {
    const match = requests.find(
      ({ request }) => (tokenId !== null && request.client_token_id === tokenId) || (anyToken && listening),
    );
    // The first success stays; an error gives way to what comes after it.
    if (match && found?.outcome !== "completed") {
      setFound(match.request);
    }
  });
  return (
    <Panel title="3. See it arrive">
      <div role="status" aria-live="polite">
        {found ? (
          <Arrived request={found} to={tenantPath(tenant, `requests/${found.request_id}`)} />
        ) : listening ? (
          <Group gap="sm">
            <Loader size={18} aria-hidden />
            <Text size="sm">
              {status === "live" || status === "connecting"
                ? "Listening for your first request"
                : "The live connection is interrupted; your request will appear when it is back."}
            </Text>
          </Group>
        ) : (
          <Text size="sm" c="dimmed">
            Create a token first. Then this page shows its first request within a second.
          </Text>
        )}
      </div>
    </Panel>
  );
}

function Arrived({ request, to }: { request: Schemas["LoggedRequest"]; to: string }) {
  const worked = request.outcome === "completed";
  return (
    <Alert
      color={worked ? "green" : "red"}
      variant={worked ? "light" : "outline"}
      title={worked ? "Your first request has arrived" : "A request has arrived, and failed"}
    >
      <Stack gap="xs">
        <StatusMark kind={worked ? "ok" : "error"}>
          {worked
            ? `${request.model_served ?? request.model_asked} answered`
            : (request.error ?? "It failed.")}
        </StatusMark>
        {worked ? (
          <Text size="sm">
            {request.latency_ms === null || request.latency_ms === undefined
              ? ""
              : `${formatDuration(request.latency_ms)}, `}
            {request.tokens} tokens, <UsdText dollars={request.cost_usd} exact />
          </Text>
        ) : null}
        <RouteLink to={to}>
          {worked ? "See why it was routed so, and what it cost" : "See what went wrong"}
        </RouteLink>
      </Stack>
    </Alert>
  );
}
