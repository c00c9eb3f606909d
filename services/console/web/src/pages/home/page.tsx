import { useMemo } from "react";
import { query } from "@/api/client";
import { conditionOf, isOfKey } from "@/components/provider-health";
import { useHealth } from "@/components/use-health";
import { useBillingZone, useTenantView } from "@/components/use-tenant-view";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Page, Panel, QueryState, RouteLink } from "@/ui";
import { NoParameters } from "@/url/no-parameters";
import { AttentionList } from "./attention";
import { FirstSteps } from "./first-steps";
import { RecentRequests } from "./recent-requests";
import { creditsSentence, healthSentence, spendSentence } from "./state";
import { TodayTiles } from "./today";
import { useFirstLoad } from "./use-first-load";
import { useToday } from "./use-today";

const TOPICS = ["requests", "credits"] as const;
const PATHS = ["/api/v1/usage", "/api/v1/credits", "/api/v1/budgets"] as const;
const REFRESH_MS = 5000;
const KEY_TOPICS = ["keys"] as const;
const KEY_PATHS = ["/api/v1/provider-keys"] as const;

/** Is everything all right, and what should I do? */
export default function HomePage() {
  const tenant = useTenantView();
  const zone = useBillingZone();
  if (zone === undefined) {
    return (
      <Page title="Home">
        <NoParameters />
        <QueryState what="the tenant" query={tenant} height={600}>
          {() => null}
        </QueryState>
      </Page>
    );
  }
  return <HomeOf zone={zone} />;
}

function HomeOf({ zone }: { zone: string }) {
  useRefetchOn(TOPICS, PATHS, REFRESH_MS);
  useRefetchOn(KEY_TOPICS, KEY_PATHS);
  const tenant = useTenant();
  const { today, span } = useToday(zone);
  const loading = useFirstLoad();
  if (loading || today.isPending) {
    return (
      <Page title="Home" description="Loading the state of your gateway.">
        <NoParameters />
        <QueryState
          what="the state of your gateway"
          query={{ ...today, data: undefined, error: null, isFetching: true }}
          height={600}
        >
          {() => null}
        </QueryState>
      </Page>
    );
  }
  return (
    <Page title="Home" description={<Sentence today={today.data} />}>
      <NoParameters />
      <FirstSteps />
      <AttentionList />
      <QueryState what="today's figures" query={today} height={120}>
        {(data) => <TodayTiles today={data} span={span} />}
      </QueryState>
      <Panel
        title="Recent requests"
        actions={
          <RouteLink to={tenantPath(tenant, "requests")} size="sm">
            All requests
          </RouteLink>
        }
      >
        <RecentRequests />
      </Panel>
    </Page>
  );
}

/** One sentence of state, of what is known so far. */
function Sentence({ today }: { today: Parameters<typeof spendSentence>[0] | undefined }) {
  const health = useHealth();
  const credits = query.useQuery("get", "/api/v1/credits");
  const titles = query.useQuery("get", "/api/v1/providers", {}, { staleTime: 60_000 });
  const conditions = useMemo(() => {
    const targets = (health.data?.targets ?? []).filter((each) => !isOfKey(each));
    const title = new Map(titles.data?.data.map((each) => [each.name, each.title]));
    const nameOf = ({ target }: (typeof targets)[number]) =>
      target.endpoint ?? title.get(target.provider) ?? target.provider;
    return [...new Set(targets.map(nameOf))].sort().map((provider) => ({
      provider,
      condition: conditionOf(targets.filter((each) => nameOf(each) === provider)).condition,
    }));
  }, [health.data, titles.data]);
  const parts = [
    health.data ? healthSentence(conditions) : "",
    today ? spendSentence(today) : "",
    credits.data ? creditsSentence(credits.data) : "",
  ].filter((part) => part !== "");
  return <>{parts.length === 0 ? "Loading the state of your gateway." : parts.join(" ")}</>;
}
