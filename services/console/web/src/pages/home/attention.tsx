import { query } from "@/api/client";
import { useRefetchOn } from "@/live/live";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { ErrorNotice, Group, Panel, RouteLink, Skeleton, Stack, StatusMark } from "@/ui";
import { type Attention, budgetAttention, creditAttention, keyAttention, outageAttention } from "./state";

const TOPICS = ["health"] as const;
const PATHS = ["/api/v1/health/outages"] as const;

/** What needs somebody; says so if nothing does. */
export function AttentionList() {
  useRefetchOn(TOPICS, PATHS);
  const tenant = useTenant();
  const keys = query.useQuery("get", "/api/v1/provider-keys/summary");
  const credits = query.useQuery("get", "/api/v1/credits");
  const budgets = query.useQuery("get", "/api/v1/budgets");
  const outages = query.useQuery("get", "/api/v1/health/outages", { params: { query: { limit: 200 } } });
  const titles = query.useQuery("get", "/api/v1/providers", {}, { staleTime: 60_000 });
  const titleOf = (name: string) => titles.data?.data.find((each) => each.name === name)?.title ?? name;
  const entries: readonly Attention[] = [
    ...(outages.data ? outageAttention(outages.data.outages, titleOf) : []),
    ...(keys.data ? keyAttention(keys.data) : []),
    ...(credits.data ? creditAttention(credits.data) : []),
    ...(budgets.data ? budgetAttention(budgets.data.budgets) : []),
  ];
  const queries = [
    { what: "provider keys", query: keys },
    { what: "credits", query: credits },
    { what: "budgets", query: budgets },
    { what: "outages", query: outages },
  ];
  const failed = queries.filter((each) => each.query.error);
  const pending = queries.some((each) => each.query.isPending && !each.query.error);
  return (
    <Panel title="Needs your attention">
      <Stack gap="xs" fz="sm">
        {entries.map((entry) => (
          <Group key={entry.text} justify="space-between" gap="xs">
            <StatusMark kind={entry.kind}>{entry.text}</StatusMark>
            <RouteLink to={tenantPath(tenant, entry.path)} size="sm">
              {entry.action}
            </RouteLink>
          </Group>
        ))}
        {failed.map((each) => (
          <ErrorNotice
            key={each.what}
            what={each.what}
            error={each.query.error}
            onRetry={() => void each.query.refetch()}
          />
        ))}
        {pending ? <Skeleton height={24} /> : null}
        {entries.length === 0 && failed.length === 0 && !pending ? (
          <StatusMark kind="ok">Nothing needs your attention.</StatusMark>
        ) : null}
      </Stack>
    </Panel>
  );
}
