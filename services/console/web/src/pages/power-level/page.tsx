import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import {
  isComplete,
  kindInWords,
  SCOPE_SPEC,
  type Scope,
  ScopePicker,
  scopeQuery,
} from "@/components/scope-picker";
import { formatTotal } from "@/format/money";
import { countOf } from "@/format/numbers";
import { useRefetchOn } from "@/live/live";
import { useAccess } from "@/session/access";
import { Box, EmptyState, ErrorNotice, LoadingSkeleton, Page, QueryState, Stack, Text } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { LevelsByOperation } from "./by-operation";
import { Estimator } from "./estimator";
import { LevelCards } from "./level-cards";
import type { Comparison, Level } from "./levels";
import { SavePanel } from "./save-panel";
import "./power-level.css";

const TOPICS = ["rules"] as const;
const PATHS = ["/api/v1/power-level"] as const;

/** What each level gains and costs, on the tenant's own traffic. */
export default function PowerLevelPage() {
  const { values, dropped, change } = usePageSearch(SCOPE_SPEC);
  useRefetchOn(TOPICS, PATHS);
  const scope: Scope = { kind: values.scope, id: values.scope === "tenant" ? "" : values.id };
  const comparison = query.useQuery(
    "get",
    "/api/v1/power-level/comparison",
    { params: { query: { days: 30 } } },
    { staleTime: 60_000 },
  );
  const inForce = query.useQuery(
    "get",
    "/api/v1/power-level",
    { params: { query: scopeQuery(scope) } },
    { enabled: isComplete(scope) },
  );
  return (
    <Page
      title="Power level"
      description="How much an answer may cost where a request names no level: what you gain and pay at each."
    >
      <DroppedNotice dropped={dropped} />
      <ScopePicker scope={scope} onChange={(next) => change({ scope: next.kind, id: next.id }, "push")} />
      {isComplete(scope) ? (
        <QueryState what="the power level" query={inForce} height={460}>
          {(found) => (
            <Choice
              key={`${scope.kind} ${scope.id} ${found.power_level} ${found.revision}`}
              scope={scope}
              inForce={found}
              comparison={comparison.data}
              waiting={comparison.isPending}
              onSaved={async () => {
                await Promise.all([inForce.refetch(), comparison.refetch()]);
              }}
            />
          )}
        </QueryState>
      ) : (
        <EmptyState title={`Choose a ${kindInWords(scope.kind)} above`}>
          Its level overrides that of the tenant.
        </EmptyState>
      )}
      {comparison.error && !comparison.data ? (
        <ErrorNotice
          what="the comparison on your own traffic"
          error={comparison.error}
          onRetry={() => void comparison.refetch()}
        />
      ) : null}
      {comparison.data ? (
        <Stack gap="md">
          <LevelsByOperation comparison={comparison.data} />
          <Estimator comparison={comparison.data} />
        </Stack>
      ) : null}
    </Page>
  );
}

interface ChoiceProps {
  scope: Scope;
  inForce: Schemas["PowerLevelInForce"];
  comparison: Comparison | undefined;
  waiting: boolean;
  onSaved: () => Promise<unknown>;
}

function Choice({ scope, inForce, comparison, waiting, onSaved }: ChoiceProps) {
  const access = useAccess("set_power_level");
  // Null follows what is in force, which somebody else may change meanwhile.
  const [picked, setPicked] = useState<Level | null>(null);
  const chosen = picked ?? inForce.power_level;
  return (
    <Stack gap="md">
      <Box mih={{ base: 66, sm: 22 }}>
        <Basis comparison={comparison} waiting={waiting} scope={scope} />
      </Box>
      <LevelCards
        comparison={comparison}
        current={inForce.power_level}
        chosen={chosen}
        waiting={waiting}
        readOnly={!access.allowed}
        onChoose={setPicked}
      />
      <SavePanel
        scope={scope}
        inForce={inForce}
        chosen={chosen}
        comparison={comparison}
        onSaved={onSaved}
        onUndo={() => setPicked(null)}
      />
    </Stack>
  );
}

function Basis({ comparison, waiting, scope }: Pick<ChoiceProps, "comparison" | "waiting" | "scope">) {
  if (!comparison) {
    return waiting ? (
      <LoadingSkeleton height={20} maw={520} label="Comparing the levels on your own traffic" />
    ) : null;
  }
  if (comparison.requests === 0) {
    return (
      <Text size="sm" c="dimmed">
        There was no request in the last 30 days, so nothing can be projected yet.
      </Text>
    );
  }
  const actual = comparison.actual_spend_micro_usd;
  return (
    <Text size="sm" c="dimmed">
      Projected for a month of {countOf(comparison.requests_per_month, "request")}, from the last{" "}
      {countOf(comparison.days_seen, "day")}
      {scope.kind === "tenant" ? "" : " of the whole tenant"}, with today's models, prices and keys.
      {actual === null || actual === undefined ? "" : ` These days came to ${formatTotal(actual)} a month.`}
      {comparison.monthly_free_requests
        ? ` ${countOf(comparison.monthly_free_requests, "free request")} a month are not deducted.`
        : ""}
    </Text>
  );
}
