import { query } from "@/api/client";
import { useTenantView } from "@/components/use-tenant-view";
import { CONFIG } from "@/config";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import { Badge, Group, Panel, RouteLink, Snippet, Stack, StatusMark, Text } from "@/ui";
import { firstSteps } from "./state";

const TOPICS = ["keys", "tokens", "requests", "credits"] as const;
const PATHS = ["/api/v1/provider-keys/summary", "/api/v1/client-tokens", "/api/v1/requests"] as const;

/** What a new tenant does first. Each step ticks itself when it has happened; all of it is gone once requests are sent. */
export function FirstSteps() {
  useRefetchOn(TOPICS, PATHS);
  const tenant = useTenant();
  const readsTokens = useAccess("list_client_tokens").allowed;
  const one = { params: { query: { limit: 1 } } };
  const view = useTenantView();
  const keys = query.useQuery("get", "/api/v1/provider-keys/summary");
  const requests = query.useQuery("get", "/api/v1/requests", one);
  const tokens = query.useQuery("get", "/api/v1/client-tokens", one, { enabled: readsTokens });
  if (!keys.data || !requests.data || !view.data || (readsTokens && !tokens.data)) {
    return null;
  }
  const sent = requests.data.data.length;
  const steps = firstSteps({
    keys: keys.data.keys,
    platform: view.data.mode === "platform" || view.data.key_policy === "platform",
    tokens: readsTokens ? (tokens.data?.data.length ?? 0) : sent,
    requests: sent,
  });
  if (steps.every((step) => step.done || step.coming)) {
    return null;
  }
  return (
    <Panel title="Start here">
      <Stack component="ol" gap="sm" p={0} m={0} fz="sm">
        {steps.map((step, index) => (
          <Group component="li" key={step.id} justify="space-between" align="flex-start" gap="xs">
            <Stack gap={2} flex={1} miw={220}>
              <StatusMark kind={step.done ? "ok" : "neutral"}>
                {index + 1}. {step.title}
              </StatusMark>
              <Text size="sm" c="dimmed" pl={20}>
                {step.text}
              </Text>
            </Stack>
            {step.done ? (
              <Text size="sm">Done</Text>
            ) : step.coming ? (
              <Badge variant="outline" color="gray" c="inherit" tt="none">
                Coming
              </Badge>
            ) : (
              <RouteLink to={tenantPath(tenant, step.path)} size="sm">
                {step.action}
              </RouteLink>
            )}
          </Group>
        ))}
      </Stack>
      {sent === 0 ? (
        <>
          <Snippet
            label="the first request"
            code={`curl ${CONFIG.apiUrl}/v1/chat/completions \\
  -H "Authorization: Bearer $KEYFERRY_TOKEN" -H "Content-Type: application/json" \\
  -d '{"model": "auto", "messages": [{"role": "user", "content": "Say hello"}]}'`}
          />
          <Text size="sm" c="dimmed" role="status">
            Listening for your first request: this page shows it by itself.
          </Text>
        </>
      ) : null}
    </Panel>
  );
}
