import type { ReactNode } from "react";
import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { countOf, formatShare } from "@/format/numbers";
import { useTimeZone } from "@/session/time-zone";
import { Badge, Group, Paper, Stack, StatusMark, Text, Time, Title, Tooltip } from "@/ui";
import { StatusStrip } from "@/ui/charts";
import { attemptsOf, circuitWords, type HealthGroup, type Outage, troubledSince } from "../health-groups";
import { stripCells, stripCounts, stripSpans } from "../health-strip";
import { CONDITION_KINDS, CONDITION_WORDS } from "../provider-health";
import { useNow } from "../use-now";
import { TargetTable } from "./target-table";
import "./health.css";

export type Figures = Schemas["UsageFigures"];

interface HealthCardProps {
  group: HealthGroup;
  /** Attempts of the last day; null if they are not counted for the address. */
  series: Schemas["UsageSeries"] | null | undefined;
  outages: readonly Outage[];
  /** Figures of the last quarter of an hour, from its beginning on: of the tenant, or of the installation. */
  recent: { readonly label: string; readonly figures: Figures | null | undefined } | null;
  onSelect?: ((since: string, until: string) => void) | undefined;
  actions: ReactNode;
}

/** One address of a provider: its state, its circuits, its last day, and how fast it answers. */
export function HealthCard({ group, series, outages, recent, onSelect, actions }: HealthCardProps) {
  const zone = useTimeZone();
  const ticking = group.targets.some((health) => health.until);
  const now = useNow(ticking);
  const { state } = group;
  const since = troubledSince(group, outages);
  const cells = stripCells(stripCounts(series ?? undefined, group.name, now), group, outages, zone, now);
  const bad = cells.filter((cell) => cell.status === "error" || cell.status === "warning").length;
  const all = attemptsOf(group.targets);
  return (
    <Paper component="section" withBorder p="md" aria-label={group.name} className="health-card">
      <Stack gap="sm">
        <Group justify="space-between" gap="xs">
          <Group gap="xs">
            <Title order={2}>{group.name}</Title>
            <StatusMark kind={CONDITION_KINDS[state.condition]}>
              {CONDITION_WORDS[state.condition]}
            </StatusMark>
            <Text span size="sm" c="dimmed">
              {since ? (
                <>
                  since <Time iso={since} clock />
                </>
              ) : null}
              {group.host ? ` ${group.host}` : ""}
              {group.tenant ? " own server" : ""}
            </Text>
          </Group>
          <Badge variant="outline" color="gray" c="inherit" tt="none" size="lg" className="health-badge">
            {circuitWords(group.targets, now)}
          </Badge>
        </Group>
        {state.reason ? <Text size="sm">{asReason(state.reason)}</Text> : null}
        {series === null ? null : (
          <StatusStrip
            summary={`${group.name}, the last 24 hours: ${bad === 0 ? "no half hour with failures" : `${countOf(bad, "half hour")} with failures or an outage`}`}
            cells={cells}
            onSelect={
              onSelect
                ? (index) => {
                    const span = stripSpans(now)[index];
                    if (span) {
                      onSelect(new Date(span.start).toISOString(), new Date(span.end).toISOString());
                    }
                  }
                : undefined
            }
            selectHint={onSelect ? "show its requests" : undefined}
            withoutTable
          />
        )}
        <Group justify="space-between" align="flex-end" gap="sm">
          {recent ? <Recent label={recent.label} figures={recent.figures} /> : <span />}
          <Group gap="xs">{actions}</Group>
        </Group>
        <Text size="xs" c="dimmed">
          {all.samples === 0
            ? "Nobody has called it within five minutes."
            : `Everybody's attempts within five minutes: ${countOf(all.samples, "attempt")}, ${formatShare(1 - all.failures / all.samples)} succeeded.`}
        </Text>
        <TargetTable group={group} />
      </Stack>
    </Paper>
  );
}

function Recent({ label, figures }: { label: string; figures: Figures | null | undefined }) {
  const ended = figures ? figures.completed + figures.failed + figures.indeterminate : 0;
  const success = figures && ended > 0 ? formatShare(figures.completed / ended, 2) : "–";
  const time = (milliseconds: number | undefined) =>
    milliseconds === undefined ? "–" : formatDuration(milliseconds);
  const shown = [
    {
      name: "Success",
      value: success,
      more: figures ? countOf(figures.attempts, "attempt") : figures === null ? "no attempts" : "loading",
    },
    {
      name: "P50",
      value: time(figures?.latency?.p50_ms),
      more: "half of the attempts took at most this long",
    },
    { name: "P95", value: time(figures?.latency?.p95_ms), more: "19 of 20 attempts took at most this long" },
    {
      name: "First token",
      value: time(figures?.first_token?.p50_ms),
      more: "half of the streamed answers began within this time",
    },
  ];
  return (
    <div>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Group gap="lg" component="dl" my={0}>
        {shown.map(({ name, value, more }) => (
          <div key={name}>
            <Text component="dt" size="xs" c="dimmed">
              {name}
            </Text>
            <Text component="dd" m={0} fw={700} className="tabular">
              <Tooltip label={more}>
                <span>{value}</span>
              </Tooltip>
            </Text>
          </div>
        ))}
      </Group>
    </div>
  );
}

function asReason(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
