import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { query, type Schemas } from "@/api/client";
import { HealthCard } from "@/components/health/health-card";
import { OutagePanel } from "@/components/health/outage-panel";
import { groupTargets, type HealthGroup, healthSummary, type Outage } from "@/components/health-groups";
import { useHealth } from "@/components/use-health";
import { formatClock } from "@/format/time";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { useTimeZone } from "@/session/time-zone";
import { EmptyState, Page, QueryState, RouteLink, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { text, usePageSearch } from "@/url/search";
import { useOwnTraffic } from "./use-own-traffic";

const SEARCH = { provider: text(/^[a-z0-9_-]{0,63}$/) };
const NONE: readonly Outage[] = [];
const WEEK = 7 * 86_400_000;

/** Who is down, since when, and whether the tenant's requests are affected. */
export default function HealthPage() {
  const search = usePageSearch(SEARCH);
  const health = useHealth();
  const [since] = useState(() => new Date(Date.now() - WEEK).toISOString());
  const outages = query.useQuery("get", "/api/v1/health/outages", {
    params: { query: { since, limit: 100 } },
  });
  const groups = useMemo(() => groupTargets(health.data?.targets ?? []), [health.data]);
  const wanted = search.values.provider;
  const shown = groups.filter((group) => wanted === "" || group.name === wanted || group.provider === wanted);
  const known = outages.data?.outages ?? NONE;
  const traffic = useOwnTraffic(groups.some((group) => group.endpoint !== null));
  // Cards grow by their figures: they are shown once these are there.
  const counting = traffic.providers.isPending || traffic.recent.isPending;
  return (
    <Page
      title="Provider health"
      description={
        health.data
          ? healthSummary(groups, known, true)
          : "Who is down, and whether your requests are affected."
      }
    >
      <DroppedNotice dropped={search.dropped} />
      <QueryState
        what="the health of providers"
        query={counting && health.data ? { ...health, data: undefined, isFetching: true } : health}
        height={420}
      >
        {() => (
          <Stack gap="md">
            {shown.length === 0 ? (
              <NoTargets filtered={wanted !== ""} clear={search.href({ provider: "" })} />
            ) : (
              <Cards groups={shown} outages={known} traffic={traffic} />
            )}
            <OutagePanel query={outages} whose="your requests" />
          </Stack>
        )}
      </QueryState>
    </Page>
  );
}

function NoTargets({ filtered, clear }: { filtered: boolean; clear: string }) {
  const tenant = useTenant();
  return filtered ? (
    <EmptyState
      title="This provider was not called"
      action={<RouteLink to={clear}>Show all providers</RouteLink>}
    >
      Nothing was sent there within the last day.
    </EmptyState>
  ) : (
    <EmptyState
      title="Nothing was called yet"
      action={<RouteLink to={tenantPath(tenant, "quick-start")}>Send a first request</RouteLink>}
    >
      A provider appears here with its first request, and stays for a day after the last one.
    </EmptyState>
  );
}

interface CardsProps {
  groups: readonly HealthGroup[];
  outages: readonly Outage[];
  traffic: ReturnType<typeof useOwnTraffic>;
}

function Cards({ groups, outages, traffic }: CardsProps) {
  const tenant = useTenant();
  const zone = useTimeZone();
  const navigate = useNavigate();
  const list = (name: string, more: Record<string, string>) =>
    `${tenantPath(tenant, "requests")}?${new URLSearchParams({ provider: name, ...more }).toString()}`;
  const rows = traffic.recent.data?.rows;
  const label = `Your attempts since ${formatClock(traffic.recentSince, zone)}`;
  return (
    <div className="health-cards">
      {groups.map((group) => (
        <HealthCard
          key={group.key}
          group={group}
          series={group.endpoint ? traffic.servers.data : traffic.providers.data}
          outages={outages}
          recent={{ label, figures: rows ? figuresOf(rows, group) : undefined }}
          onSelect={(since, until) => void navigate({ href: list(group.name, { since, until }) })}
          actions={
            <RouteLink to={list(group.name, { outcome: "failed" })} fz="sm">
              Failed requests
            </RouteLink>
          }
        />
      ))}
    </div>
  );
}

/** Return the tenant's figures of an address: those of its provider, or of its own server. */
function figuresOf(
  rows: Schemas["UsageBreakdown"]["rows"],
  group: HealthGroup,
): Schemas["UsageFigures"] | null {
  const row = rows.find(({ keys }) => {
    const endpoint = keys[1]?.value ?? null;
    return group.endpoint === null
      ? keys[0]?.value === group.provider && endpoint === null
      : endpoint === group.endpoint;
  });
  return row?.figures ?? null;
}
