import { query, type Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { countOf, formatCount } from "@/format/numbers";
import {
  Button,
  Code,
  type Column,
  DataTable,
  EmptyState,
  Page,
  Panel,
  Progress,
  QueryState,
  SegmentedControl,
  Stack,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { RefreshIcon } from "@/ui/icons";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import {
  budgetPercent,
  burnHeader,
  burnRate,
  exactPercent,
  levelState,
  SHOWN_MINUTES,
  summarize,
} from "./objectives";

type Level = Schemas["ServiceLevel"];

const PERIODS = ["1", "7", "30", "90"] as const;
const SEARCH = { days: oneOf(PERIODS, "30") };

const COLUMNS: readonly Column<Level>[] = [
  {
    id: "name",
    header: "Objective",
    rowHeader: true,
    cell: (level) => (
      <>
        {level.name}
        <Text size="xs" c="dimmed" miw={200}>
          {level.good_means}
          {typeof level.threshold_ms === "number" ? ` (within ${formatDuration(level.threshold_ms)})` : ""}
        </Text>
      </>
    ),
  },
  {
    id: "target",
    header: "Target",
    numeric: true,
    cell: (level) => exactPercent(level.target_permille * 1000),
  },
  {
    id: "attained",
    header: "Attained",
    numeric: true,
    cell: (level) => (typeof level.attained_ppm === "number" ? exactPercent(level.attained_ppm) : "–"),
  },
  {
    id: "state",
    header: "State",
    cell: (level) => {
      const { kind, words } = levelState(level);
      return (
        <span className="nowrap">
          <StatusMark kind={kind}>{words}</StatusMark>
        </span>
      );
    },
  },
  { id: "events", header: "Events", numeric: true, cell: (level) => formatCount(level.good + level.bad) },
  { id: "bad", header: "Bad", numeric: true, cell: (level) => formatCount(level.bad) },
  { id: "budget", header: "Budget left", numeric: true, cell: (level) => <BudgetLeft level={level} /> },
  ...SHOWN_MINUTES.map((minutes) => ({
    id: `burn-${minutes}`,
    header: burnHeader(minutes),
    numeric: true,
    cell: (level: Level) => burnRate(level.windows, minutes),
  })),
];

/** How well the objectives of the service were met, and how fast their error budgets are spent. */
export default function OpsObjectivesPage() {
  const { values, dropped, change } = usePageSearch(SEARCH);
  const found = query.useQuery(
    "get",
    "/api/v1/ops/service-levels",
    { params: { query: { days: Number(values.days) } } },
    { staleTime: 0 },
  );
  return (
    <Page
      title="Objectives"
      description={
        found.data
          ? summarize(found.data.levels)
          : "What is promised about the service, what was measured, and what is left of each error budget."
      }
      actions={
        <>
          <SegmentedControl
            aria-label="Period"
            value={values.days}
            onChange={(days) => change({ days: days as (typeof PERIODS)[number] })}
            data={PERIODS.map((days) => ({ value: days, label: countOf(Number(days), "day") }))}
          />
          <Button
            variant="default"
            leftSection={<RefreshIcon size={16} aria-hidden />}
            loading={found.isFetching}
            onClick={() => void found.refetch()}
          >
            Ask again
          </Button>
        </>
      }
    >
      <DroppedNotice dropped={dropped} />
      <Panel title="Error budgets">
        <QueryState what="the objectives" query={found} height={420}>
          {(data) => <Levels found={data} />}
        </QueryState>
      </Panel>
    </Page>
  );
}

function Levels({ found }: { found: Schemas["ServiceLevels"] }) {
  const measured = found.measured_since;
  return (
    <Stack gap="md">
      {measured ? (
        <Text size="sm">
          {countOf(found.days, "day")} until <Time iso={found.as_of} />, measured since{" "}
          <Time iso={measured} />.
        </Text>
      ) : (
        <EmptyState title={`Nothing was measured in ${countOf(found.days, "day")}`}>
          The first request to the gateway or the management API is counted within ten seconds.
        </EmptyState>
      )}
      <Alerts levels={found.levels} />
      <DataTable caption="Objectives" columns={COLUMNS} rows={found.levels} rowKey={(level) => level.name} />
      <Text size="sm" c="dimmed">
        The error budget is the share of events that may be bad. A burn rate of 1 spends it exactly within the
        objective&rsquo;s period, 10 in a tenth of it.
      </Text>
    </Stack>
  );
}

function Alerts({ levels }: { levels: readonly Level[] }) {
  return levels
    .filter((level) => level.alert)
    .map((level) => (
      <Text key={level.name} size="sm" role="alert">
        <StatusMark kind={levelState(level).kind}>{levelState(level).words}</StatusMark> The error budget of{" "}
        {level.name} is spent too fast{level.alert === "ticket" ? ": act within working days" : ""}. What to
        do is in <Code>docs/runbooks/error-budget-{level.name}.md</Code>.
      </Text>
    ));
}

function BudgetLeft({ level }: { level: Level }) {
  const left = level.budget_left_permille;
  if (typeof left !== "number") {
    return "–";
  }
  return (
    <Stack gap={2} miw={96}>
      {budgetPercent(left)}
      <Progress
        value={Math.max(0, left / 10)}
        color={left < 0 ? "red.9" : "cyan.9"}
        aria-label={`${budgetPercent(left)} of the error budget of ${level.name} is left`}
      />
    </Stack>
  );
}
