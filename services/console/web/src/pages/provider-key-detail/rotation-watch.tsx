import { useEffect, useState } from "react";
import { query } from "@/api/client";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { formatLongDuration } from "@/format/duration";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Anchor, Group, Panel, QueryState, RouteLink, StatusMark, Text } from "@/ui";
import { RevertButton } from "./revert-button";
import { secondsLeft, verdictOf } from "./watch";

const TOPICS = ["requests"] as const;
const PATHS = ["/api/v1/requests"] as const;
const HOUR_MS = 3_600_000;

interface RotationWatchProps {
  providerKey: ProviderKey;
  title: string;
  keyUrl: string | null;
}

/** The error rate of the first ten minutes with a new key, and the way back. */
export function RotationWatch({ providerKey, title, keyUrl }: RotationWatchProps) {
  const tenant = useTenant();
  const rotatedAt = providerKey.rotated_at ?? "";
  const hourBefore = new Date(new Date(rotatedAt).getTime() - HOUR_MS).toISOString();
  const since = useCounts(providerKey.key_id, rotatedAt, null);
  const before = useCounts(providerKey.key_id, hourBefore, rotatedAt);
  useRefetchOn(TOPICS, PATHS);
  const left = useSecondsLeft(providerKey);
  const link = tenantPath(
    tenant,
    `requests?${new URLSearchParams({ key: providerKey.key_id, from: rotatedAt })}`,
  );
  return (
    <Panel title="Watching the new key" actions={<RevertButton providerKey={providerKey} />}>
      <QueryState what="the requests since the rotation" query={since.total} height={24}>
        {() => {
          const verdict = verdictOf(since.counts, before.counts);
          return (
            <Group gap="sm" role="status">
              <StatusMark kind={verdict.kind}>{verdict.text}</StatusMark>
              {since.counts.total > 0 ? (
                <RouteLink to={link} size="sm">
                  Show these requests
                </RouteLink>
              ) : null}
            </Group>
          );
        }}
      </QueryState>
      <Text size="sm" c="dimmed">
        {left > 0
          ? `Watched for ${formatLongDuration(left)} more. If errors rise, revert: the old key is used again at once.`
          : "The ten minutes are over."}{" "}
        Then delete the old key at{" "}
        {keyUrl ? (
          <Anchor href={keyUrl} target="_blank" rel="noreferrer" inherit underline="always">
            {title}
          </Anchor>
        ) : (
          title
        )}
        .
      </Text>
    </Panel>
  );
}

function useCounts(keyId: string, since: string, until: string | null) {
  const asked = { key_id: keyId, since, ...(until ? { until } : {}), limit: 1, count: "true" as const };
  const total = query.useQuery("get", "/api/v1/requests", { params: { query: asked } });
  const failed = query.useQuery("get", "/api/v1/requests", {
    params: { query: { ...asked, outcome: "failed" } },
  });
  return {
    total,
    counts: { total: total.data?.total?.count ?? 0, failed: failed.data?.total?.count ?? 0 },
  };
}

function useSecondsLeft(key: ProviderKey): number {
  const [left, setLeft] = useState(() => secondsLeft(key, new Date()));
  useEffect(() => {
    const timer = setInterval(() => setLeft(secondsLeft(key, new Date())), 5000);
    return () => clearInterval(timer);
  }, [key]);
  return left;
}
