import { OutcomeMark } from "@/components/outcome-mark";
import { KEY_SOURCE_WORDS, LEVEL_WORDS, type LoggedRequest } from "@/components/request-words";
import { servedModel } from "@/components/served-model";
import { formatDuration } from "@/format/duration";
import { formatCompact, formatCount } from "@/format/numbers";
import { RouteLink, Stack, Text, Time, UsdText } from "@/ui";

export interface RequestColumn {
  readonly id: string;
  readonly header: string;
  /** The width in rem; the others share what is left. */
  readonly width?: number;
  readonly numeric?: boolean;
  /** From which width of the page it is shown. */
  readonly from: "medium" | "wide";
  readonly cell: (row: LoggedRequest) => React.ReactNode;
}

const NONE = <span aria-hidden>–</span>;

/** Return the address of a request below that of the list. */
export function requestPath(basePath: string, id: string): string {
  return `${basePath}/${encodeURIComponent(id)}`;
}

/** Return the columns of the list. */
export function requestColumns(basePath: string): readonly RequestColumn[] {
  return [
    {
      id: "time",
      header: "Time",
      width: 7.75,
      from: "medium",
      cell: (row) => (
        <RouteLink to={requestPath(basePath, row.request_id)} c="inherit" fz="inherit">
          <Time iso={row.started_at} />
        </RouteLink>
      ),
    },
    {
      id: "status",
      header: "Status",
      width: 7.75,
      from: "medium",
      cell: (row) => <OutcomeMark outcome={row.outcome} errorClass={row.error_class} />,
    },
    { id: "operation", header: "Operation", width: 5.5, from: "wide", cell: (row) => row.operation ?? NONE },
    { id: "model", header: "Requested → served", from: "medium", cell: (row) => <ModelCell row={row} /> },
    {
      id: "key",
      header: "Key",
      width: 5.5,
      from: "medium",
      cell: (row) => (row.key_source ? KEY_SOURCE_WORDS[row.key_source] : NONE),
    },
    {
      id: "level",
      header: "Level",
      width: 4.5,
      from: "wide",
      cell: (row) => (row.power_level ? LEVEL_WORDS[row.power_level] : NONE),
    },
    {
      id: "tokens",
      header: "Tokens",
      width: 3.75,
      numeric: true,
      from: "wide",
      cell: (row) => (
        <span title={`${formatCount(row.tokens ?? 0)} tokens`}>{formatCompact(row.tokens ?? 0)}</span>
      ),
    },
    {
      id: "cost",
      header: "Cost",
      width: 5.5,
      numeric: true,
      from: "medium",
      cell: (row) => <CostCell row={row} />,
    },
    {
      id: "ttft",
      header: "TTFT",
      width: 4.5,
      numeric: true,
      from: "wide",
      cell: (row) => duration(row.first_token_ms),
    },
    {
      id: "latency",
      header: "Latency",
      width: 4.75,
      numeric: true,
      from: "medium",
      cell: (row) => duration(row.latency_ms),
    },
    {
      id: "attempts",
      header: "Attempts",
      width: 4.75,
      numeric: true,
      from: "wide",
      cell: (row) => formatCount(row.attempts?.length ?? 0),
    },
  ];
}

function duration(milliseconds: number | null | undefined): React.ReactNode {
  return milliseconds === null || milliseconds === undefined ? NONE : formatDuration(milliseconds);
}

function CostCell({ row }: { row: LoggedRequest }) {
  if ((row.attempts?.length ?? 0) === 0) {
    return NONE;
  }
  return <UsdText dollars={row.cost_usd} exact />;
}

/** The model that was asked for and the one that served, with the cause of a difference. */
export function ModelCell({ row }: { row: LoggedRequest }) {
  const { asked, served, cause } = servedModel(row);
  if (served === null || cause === null) {
    return (
      <Text span inherit truncate title={asked}>
        {asked}
      </Text>
    );
  }
  return (
    <Stack gap={0} title={`${asked} → ${served} (${cause})`}>
      <Text span inherit truncate>
        {asked} → {served}
      </Text>
      <Text span size="xs" c="dimmed" truncate>
        {cause}
      </Text>
    </Stack>
  );
}
