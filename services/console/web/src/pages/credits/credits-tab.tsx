import { query } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import { creditsToMicroUsd, formatCredits } from "@/format/credits";
import { formatExact, formatTotal } from "@/format/money";
import { Grid, Panel, QueryState, SimpleGrid, Stack, StatTile, StatusMark, UsdText } from "@/ui";
import { AllowancePanel } from "./allowance-panel";
import { BurnDownChart } from "./burn-down-chart";
import { lastingText } from "./forecast";
import { Ledger } from "./ledger";
import { PackagesPanel } from "./packages-panel";
import { PaymentsPanel } from "./payments-panel";
import { ThresholdPanel } from "./threshold-panel";
import { TopUpPanel } from "./top-up-panel";
import { useBurnDown } from "./use-burn-down";

const STATE_MARKS = {
  none: <StatusMark kind="neutral">No credits yet</StatusMark>,
  ok: <StatusMark kind="ok">Enough</StatusMark>,
  low: <StatusMark kind="warning">Low</StatusMark>,
  empty: <StatusMark kind="error">Used up: requests on the platform's keys are refused</StatusMark>,
} as const;

/** The balance, how long it lasts, and every change of it. */
export function CreditsTab({ zone }: { zone: string }) {
  const credits = query.useQuery("get", "/api/v1/credits");
  const history = query.useInfiniteQuery(
    "get",
    "/api/v1/credits/history",
    { params: { query: { limit: 100 } } },
    BY_PAGES,
  );
  const entries = history.data?.pages.flatMap((page) => page.entries) ?? [];
  const burn = useBurnDown(zone, credits.data, entries);
  return (
    <Stack gap="md">
      <QueryState
        what="the credits"
        query={{ ...credits, isFetching: credits.isPending }}
        height={{ base: 330, md: 120 }}
      >
        {(data) => (
          <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
            <StatTile
              label="Balance"
              value={<UsdText dollars={data.balance_usd} />}
              exact={formatExact(creditsToMicroUsd(data.balance))}
              detail={
                <>
                  {formatCredits(data.balance)} credits {STATE_MARKS[data.state]}
                  {Number(data.owed ?? 0) > 0 ? (
                    <StatusMark kind="warning">
                      {`${formatCredits(data.owed ?? "0")} owed for refunds of spent credits: what comes pays that first`}
                    </StatusMark>
                  ) : null}
                </>
              }
            />
            <StatTile
              label="Available"
              value={formatTotal(creditsToMicroUsd(data.available))}
              detail={`${formatCredits(data.available)} credits for the next requests`}
            />
            <StatTile
              label="Held"
              value={formatTotal(creditsToMicroUsd(data.held))}
              detail="set aside for requests that run; what they do not use returns"
            />
            <StatTile
              label="Lasts"
              value={burn.down ? lastingText(burn.down.lasting) : "not known"}
              detail={
                burn.down
                  ? `a mean day takes ${formatTotal(Math.round(burn.down.lasting.perDay))}`
                  : "known after three days with requests on the platform's keys"
              }
            />
          </SimpleGrid>
        )}
      </QueryState>
      <Grid gap="md">
        <Grid.Col span={{ base: 12, md: 8 }}>
          <Panel title="Balance over time">
            <BurnDownChart burn={burn} zone={zone} />
          </Panel>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 4 }}>
          <Stack gap="md">
            <PackagesPanel />
            <TopUpPanel />
            <ThresholdPanel credits={credits.data} />
            <AllowancePanel />
          </Stack>
        </Grid.Col>
      </Grid>
      <PaymentsPanel />
      <Panel title="Ledger">
        <QueryState what="the ledger" query={{ ...history, isFetching: history.isPending }} height={320}>
          {() => (
            <Ledger
              entries={entries}
              more={history.hasNextPage}
              busy={history.isFetchingNextPage}
              onMore={() => void history.fetchNextPage()}
            />
          )}
        </QueryState>
      </Panel>
    </Stack>
  );
}
