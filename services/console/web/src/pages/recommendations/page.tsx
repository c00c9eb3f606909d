import { query } from "@/api/client";
import { asApiError } from "@/api/errors";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { EmptyState, Page, QueryState, RouteLink, SegmentedControl, Stack, Text } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import { RecommendationCard } from "./card";
import { PERIODS, summaryOf } from "./recommendations";

const SEARCH = { days: oneOf(PERIODS, "30") };

/** What would have made the tenant's traffic cheaper, with the amount and how sure that is. */
export default function RecommendationsPage() {
  const { values, dropped, change } = usePageSearch(SEARCH);
  const tenant = useTenant();
  const days = Number(values.days);
  const found = query.useQuery(
    "get",
    "/api/v1/recommendations",
    { params: { query: { days } } },
    { staleTime: 60_000 },
  );
  const notIncluded = found.error && asApiError(found.error).status === 409 ? found.error : null;
  return (
    <Page
      title="Recommendations"
      description="What would have made your requests cheaper, planned again with other models and keys at today's prices."
    >
      <DroppedNotice dropped={dropped} />
      <SegmentedControl
        aria-label="How far back to look"
        value={values.days}
        onChange={(next) => change({ days: next as (typeof PERIODS)[number] }, "push")}
        data={PERIODS.map((period) => ({ value: period, label: `${period} days` }))}
        style={{ alignSelf: "flex-start" }}
      />
      {notIncluded ? (
        <EmptyState title="Your tier does not include recommendations">
          {asApiError(notIncluded).message}
        </EmptyState>
      ) : (
        <QueryState what="recommendations" query={found} height={420}>
          {(data) => (
            <Stack gap="md">
              <Text>{summaryOf(data, days)}</Text>
              {data.recommendations.length === 0 ? (
                <EmptyState
                  title="Nothing to recommend"
                  action={<RouteLink to={tenantPath(tenant, "power-level")}>Compare power levels</RouteLink>}
                >
                  A recommendation needs at least 5 requests of one kind, and has to save a cent and 5 %.
                </EmptyState>
              ) : (
                data.recommendations.map((each) => (
                  <RecommendationCard key={each.recommendation_id} recommendation={each} />
                ))
              )}
              {(data.notes ?? []).map((note) => (
                <Text key={note} size="sm" c="dimmed">
                  {note}
                </Text>
              ))}
            </Stack>
          )}
        </QueryState>
      )}
    </Page>
  );
}
