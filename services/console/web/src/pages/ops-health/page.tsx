import { useMemo, useState } from "react";
import { query } from "@/api/client";
import { HealthCard } from "@/components/health/health-card";
import { OutagePanel } from "@/components/health/outage-panel";
import { groupTargets, type HealthGroup, healthSummary, type Outage } from "@/components/health-groups";
import { useHealth } from "@/components/use-health";
import { formatClock } from "@/format/time";
import { useTimeZone } from "@/session/time-zone";
import { ActionButton, EmptyState, Page, QueryState, RouteLink, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { text, usePageSearch } from "@/url/search";
import { overridesOf } from "./force-body";
import { ForceDialog } from "./force-dialog";
import { OverridesPanel } from "./overrides-panel";
import { useAllTraffic } from "./use-all-traffic";

const SEARCH = { provider: text(/^[a-z0-9_-]{0,63}$/) };
const NONE: readonly Outage[] = [];
const WEEK = 7 * 86_400_000;

/** The health of all providers and servers of the installation, and what operators force. */
export default function OperatorHealthPage() {
  const search = usePageSearch(SEARCH);
  const health = useHealth();
  const [since] = useState(() => new Date(Date.now() - WEEK).toISOString());
  const [forcing, setForcing] = useState<HealthGroup | null>(null);
  const outages = query.useQuery("get", "/api/v1/ops/health/outages", {
    params: { query: { since, limit: 100 } },
  });
  const groups = useMemo(() => groupTargets(health.data?.targets ?? []), [health.data]);
  const wanted = search.values.provider;
  const shown = groups.filter((group) => wanted === "" || group.name === wanted || group.provider === wanted);
  const known = outages.data?.outages ?? NONE;
  const reload = () => {
    setForcing(null);
    void health.refetch();
  };
  return (
    <Page
      title="Provider health"
      description={
        health.data
          ? healthSummary(groups, known, false)
          : "All providers and servers that this installation calls."
      }
    >
      <DroppedNotice dropped={search.dropped} />
      <QueryState what="the health of providers" query={health} height={420}>
        {(data) => (
          <Stack gap="md">
            {shown.length === 0 ? (
              <EmptyState
                title="Nothing was called"
                action={
                  wanted === "" ? undefined : (
                    <RouteLink to={search.href({ provider: "" })}>Show all providers</RouteLink>
                  )
                }
              >
                A provider appears here with its first request, and stays for a day after the last one.
              </EmptyState>
            ) : (
              <Cards
                groups={shown}
                outages={known}
                forced={(group) => overridesOf(data.overrides, group).length > 0}
                onForce={setForcing}
              />
            )}
            <OverridesPanel overrides={data.overrides} onReleased={reload} />
            <OutagePanel query={outages} whose="the requests of all tenants" />
          </Stack>
        )}
      </QueryState>
      {forcing ? <ForceDialog group={forcing} onClose={() => setForcing(null)} onDone={reload} /> : null}
    </Page>
  );
}

interface CardsProps {
  groups: readonly HealthGroup[];
  outages: readonly Outage[];
  forced: (group: HealthGroup) => boolean;
  onForce: (group: HealthGroup) => void;
}

function Cards({ groups, outages, forced, onForce }: CardsProps) {
  const zone = useTimeZone();
  const traffic = useAllTraffic();
  const rows = traffic.recent.data?.rows;
  const label = `Attempts of all tenants since ${formatClock(traffic.recentSince, zone)}`;
  return (
    <div className="health-cards">
      {groups.map((group) => {
        const row = rows?.find(({ keys }) => keys[0]?.value === group.provider);
        const figures = rows ? (row?.figures ?? null) : undefined;
        return (
          <HealthCard
            key={group.key}
            group={group}
            series={group.endpoint ? null : traffic.providers.data}
            outages={outages}
            recent={group.endpoint === null ? { label, figures } : null}
            actions={
              <ActionButton
                operation="force_health"
                variant="default"
                size="xs"
                onClick={() => onForce(group)}
              >
                {forced(group) ? "Change the override" : "Force circuit"}
              </ActionButton>
            }
          />
        );
      })}
    </div>
  );
}
