import { useState } from "react";
import { query } from "@/api/client";
import { CONFIG } from "@/config";
import { tenantPath } from "@/navigation";
import { useAccess } from "@/session/access";
import { useTenant } from "@/session/session";
import { Button, CopyButton, Group, Panel, QueryState, RouteLink, Snippet, Stack, Text, Time } from "@/ui";
import { asCurl } from "./copies";
import type { RequestRecords } from "./records";

/** The prompt and the answer if they are stored; else why not. Reading them is recorded, so they are shown only on demand. */
export function StoredContent({ records }: { records: RequestRecords }) {
  const tenant = useTenant();
  const access = useAccess("get_request_content");
  const [wanted, setWanted] = useState(false);
  const settings = query.useQuery("get", "/api/v1/tenant", {}, { staleTime: 60_000 });
  const policy = settings.data?.content;
  return (
    <Panel title="Prompt and answer">
      {policy === "off" ? (
        <Text size="sm">
          Not stored. The privacy setting is “metadata only”.{" "}
          <RouteLink to={tenantPath(tenant, "privacy")}>Privacy and region</RouteLink>
        </Text>
      ) : null}
      {access.allowed ? (
        wanted ? (
          <Content records={records} />
        ) : (
          <Group gap="sm">
            <Button variant="default" size="xs" onClick={() => setWanted(true)}>
              {policy === "off" ? "Look for content that was stored earlier" : "Show prompt and answer"}
            </Button>
            <Text size="sm" c="dimmed">
              The audit log records that you read them.
            </Text>
          </Group>
        )
      ) : policy === "off" ? null : (
        <Text size="sm">{access.reason}</Text>
      )}
    </Panel>
  );
}

function Content({ records }: { records: RequestRecords }) {
  const content = query.useQuery("get", "/api/v1/requests/{request_id}/content", {
    params: { path: { request_id: records.request_id } },
  });
  return (
    <QueryState what="the prompt and the answer" query={content} height={120}>
      {(data) =>
        data.attempts.length === 0 ? (
          <Text size="sm">Nothing is stored of this request, or its time has passed.</Text>
        ) : (
          <Stack>
            {data.attempts.map((attempt, index) => (
              <div key={attempt.attempt_id}>
                <Text size="sm" c="dimmed">
                  Attempt {index + 1}, {attempt.policy === "redacted" ? "personal data replaced" : "in full"},
                  deleted <Time iso={attempt.expires_at} relative />
                </Text>
                <Snippet code={indented(attempt.request)} label="the request" />
                {attempt.request_cut ? <Text size="sm">Only its beginning is stored.</Text> : null}
                <Snippet code={indented(attempt.answer)} label="the answer" />
                {attempt.answer_cut ? <Text size="sm">Only its beginning is stored.</Text> : null}
                {attempt.request_cut ? null : (
                  <CopyButton
                    value={asCurl(records, CONFIG.apiUrl, attempt.request)}
                    label="Copy as curl with this prompt"
                    withText
                  />
                )}
              </div>
            ))}
          </Stack>
        )
      }
    </QueryState>
  );
}

/** Return JSON with line breaks; any other text as it is. */
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
