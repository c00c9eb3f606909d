import type { UseQueryResult } from "@tanstack/react-query";
import type { Schemas } from "@/api/client";
import { formatLongDuration } from "@/format/duration";
import { formatCount } from "@/format/numbers";
import { type Column, DataTable, EmptyState, Panel, QueryState, StatusMark, Text, Time } from "@/ui";
import { type Outage, outageWords } from "../health-groups";

const COLUMNS: readonly Column<Outage>[] = [
  {
    id: "place",
    header: "Where",
    rowHeader: true,
    cell: (row) => (
      <>
        {row.endpoint ?? row.provider}
        <Text size="xs" c="dimmed">
          {row.models.slice(0, 3).join(", ")}
          {row.models.length > 3 ? ` and ${row.models.length - 3} more` : ""}
        </Text>
      </>
    ),
  },
  { id: "start", header: "Start", cell: (row) => <Time iso={row.began_at} /> },
  {
    id: "end",
    header: "End",
    cell: (row) =>
      row.ended_at ? (
        <>
          <Time iso={row.ended_at} />
          <Text size="xs" c="dimmed">
            {formatLongDuration((Date.parse(row.ended_at) - Date.parse(row.began_at)) / 1000)}
          </Text>
        </>
      ) : (
        <StatusMark kind="error">Not over</StatusMark>
      ),
  },
  {
    id: "reason",
    header: "Reason",
    cell: (row) => `${row.forced ? "Forced by an operator: " : ""}${row.reasons.slice(0, 2).join("; ")}`,
  },
  {
    id: "affected",
    header: "Affected requests",
    numeric: true,
    cell: (row) => formatCount(row.affected_requests),
  },
  { id: "done", header: "What the gateway did", cell: outageWords },
];

interface OutagePanelProps {
  query: UseQueryResult<Schemas["Outages"], unknown>;
  /** Whose requests the figures count: "your requests". */
  whose: string;
}

/** The outages of the last seven days: when, why, and what became of requests. */
export function OutagePanel({ query, whose }: OutagePanelProps) {
  return (
    <Panel title="Outages in the last 7 days">
      <QueryState what="the outages" query={query} height={160}>
        {(data) => (
          <>
            <DataTable
              caption={`Outages, newest first; figures count ${whose}`}
              columns={COLUMNS}
              rows={data.outages}
              rowKey={(row) =>
                `${row.provider} ${row.endpoint ?? ""} ${row.key_class} ${row.tenant ?? ""} ${row.origin ?? ""} ${row.began_at}`
              }
              empty={
                <EmptyState title="No outages">
                  No circuit was open within the last seven days of what requests can reach.
                </EmptyState>
              }
            />
            {data.more ? (
              <Text size="sm" c="dimmed">
                There were more; these are the newest.
              </Text>
            ) : null}
          </>
        )}
      </QueryState>
    </Panel>
  );
}
