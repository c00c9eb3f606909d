import { useBillingZone, useTenantView } from "@/components/use-tenant-view";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { useTimeZone } from "@/session/time-zone";
import { EmptyState, Grid, Page, QueryState, RouteLink, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { type PageSearch, usePageSearch } from "@/url/search";
import { Actions } from "./actions";
import { Controls, FilterPills } from "./controls";
import { CreditsCard } from "./credits-card";
import { ErrorClasses } from "./error-classes";
import { Kpis } from "./kpis";
import { LatencyPanel } from "./latency-panel";
import { ModelTable } from "./model-table";
import { useNames } from "./names";
import { freshnessText, modelRows } from "./prepare";
import {
  type Dimension,
  FILTER_NAMES,
  FILTERS,
  NO_FILTERS,
  setFilters,
  USAGE_SEARCH,
  usageQuery,
} from "./search";
import { SpendPanel } from "./spend-panel";
import { useUsage } from "./use-usage";
import { WhoPays } from "./who-pays";

const TOPICS = ["requests"] as const;
const PATHS = ["/api/v1/usage"] as const;
/** Usage is added up over many requests: often enough to be seen to move, seldom enough to be read. */
const REFRESH_MS = 15_000;

/** What was spent, on what, did it work, and how fast. */
export default function UsagePage() {
  const search = usePageSearch(USAGE_SEARCH);
  const tenant = useTenantView();
  const zone = useBillingZone();
  if (zone === undefined) {
    return (
      <Page title="Usage" description="What you spend, where it goes, and how well it works.">
        <QueryState what="the billing zone" query={tenant} height={900}>
          {() => null}
        </QueryState>
      </Page>
    );
  }
  return <UsageOf zone={zone} search={search} />;
}

function UsageOf({ zone, search }: { zone: string; search: PageSearch<typeof USAGE_SEARCH> }) {
  useRefetchOn(TOPICS, PATHS, REFRESH_MS);
  const { values } = search;
  const viewerZone = useTimeZone();
  const span = usageQuery(values, zone);
  const { summary, series, latency, errors, models } = useUsage(span, values);
  const filtered = FILTER_NAMES.filter((name) => values[name].length > 0).map((name) => FILTERS[name].api);
  const nameOf = useNames([...filtered, values.by as Dimension]);
  const answer = summary.data;
  const description = answer
    ? `What you spend, where it goes, and how well it works. ${freshnessText(answer, viewerZone)}`
    : "What you spend, where it goes, and how well it works.";
  return (
    <Page
      title="Usage"
      description={description}
      actions={<Actions search={search} span={span} answer={answer} />}
    >
      <DroppedNotice dropped={search.dropped} />
      <Controls search={search} zone={zone} nameOf={nameOf} />
      <FilterPills search={search} nameOf={nameOf} />
      <QueryState what="the totals" query={summary} height={{ base: 600, lg: 104 }}>
        {(data) => <Kpis summary={data} values={values} />}
      </QueryState>
      {answer === undefined && !summary.error ? null : answer?.total.attempts === 0 &&
        !summary.isPlaceholderData ? (
        <NothingThere search={search} />
      ) : (
        <>
          <Grid gap="md">
            <Grid.Col span={{ base: 12, md: 8 }}>
              <SpendPanel search={search} query={series} total={answer?.total} nameOf={nameOf} />
            </Grid.Col>
            <Grid.Col span={{ base: 12, md: 4 }}>
              <Stack gap="md">
                <WhoPays
                  query={summary}
                  rows={models.data ? modelRows(models.data) : []}
                  nameOf={nameOf}
                  values={values}
                />
                <CreditsCard />
              </Stack>
            </Grid.Col>
          </Grid>
          <Grid gap="md">
            <Grid.Col span={{ base: 12, md: 8 }}>
              <LatencyPanel query={latency} total={answer?.total} values={values} />
            </Grid.Col>
            <Grid.Col span={{ base: 12, md: 4 }}>
              <ErrorClasses query={errors} values={values} nameOf={nameOf} />
            </Grid.Col>
          </Grid>
          <ModelTable search={search} query={models} nameOf={nameOf} />
        </>
      )}
    </Page>
  );
}

/** No traffic at all, or none that matches. */
function NothingThere({ search }: { search: PageSearch<typeof USAGE_SEARCH> }) {
  const tenant = useTenant();
  if (setFilters(search.values).length > 0) {
    return (
      <EmptyState
        title="Nothing matches these filters"
        action={<RouteLink to={search.href(NO_FILTERS)}>Clear the filters</RouteLink>}
      >
        No attempt in this time has all of them.
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title="No requests in this time"
      action={<RouteLink to={tenantPath(tenant, "quick-start")}>Send a first request</RouteLink>}
    >
      Usage appears here within a second after a request has ended. Choose a longer time, or send one.
    </EmptyState>
  );
}
