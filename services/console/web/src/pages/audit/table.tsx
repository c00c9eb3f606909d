import type { Schemas } from "@/api/client";
import { Badge, Button, type Column, DataTable, EmptyState, Stack, Text, Time } from "@/ui";
import { actionWords, auditChanges } from "./changes";

type Entry = Schemas["ShownAuditEntry"];

interface AuditTableProps {
  entries: readonly Entry[];
  filtered: boolean;
  onClear: () => void;
}

const COLUMNS: readonly Column<Entry>[] = [
  { id: "time", header: "Time", cell: ({ event }) => <Time iso={event.at} /> },
  { id: "actor", header: "Actor", cell: (entry) => <Actor entry={entry} /> },
  { id: "action", header: "Action", rowHeader: true, cell: (entry) => <Action entry={entry} /> },
  { id: "target", header: "Object", cell: ({ event }) => <Text size="sm">{event.target}</Text> },
  { id: "changes", header: "Before and after", cell: (entry) => <Changes entry={entry} /> },
  { id: "source", header: "From", cell: (entry) => <Source entry={entry} /> },
];

/** The entries of the audit log, newest first. */
export function AuditTable({ entries, filtered, onClear }: AuditTableProps) {
  return (
    <DataTable
      caption="Entries of the audit log"
      columns={COLUMNS}
      rows={entries}
      rowKey={(entry) => String(entry.position)}
      empty={
        filtered ? (
          <EmptyState
            title="No entry matches"
            action={
              <Button variant="default" onClick={onClear}>
                Clear the filters
              </Button>
            }
          />
        ) : (
          <EmptyState title="Nothing has been changed yet">
            Every change of this tenant will be listed here.
          </EmptyState>
        )
      }
    />
  );
}

function Actor({ entry }: { entry: Entry }) {
  const { actor } = entry.event;
  return (
    <Stack gap={0}>
      <Text size="sm">{entry.actor_name ?? actor}</Text>
      {entry.actor_name || entry.actor_kind !== "person" ? (
        <Text size="xs" c="dimmed">
          {entry.actor_kind === "person" ? actor : entry.actor_kind}
        </Text>
      ) : null}
    </Stack>
  );
}

function Action({ entry }: { entry: Entry }) {
  const { action, outcome } = entry.event;
  return (
    <>
      {actionWords(action)}{" "}
      {outcome === "done" ? null : (
        <Badge size="sm" variant="outline" color="red.9">
          {outcome}
        </Badge>
      )}
    </>
  );
}

function Changes({ entry }: { entry: Entry }) {
  return (
    <Stack gap={0}>
      {auditChanges(entry.event.details).map((change) => (
        <Text key={change.field} size="sm">
          <Text span size="xs" c="dimmed">
            {change.field}:
          </Text>{" "}
          {change.before === null ? null : (
            <>
              <del>{change.before}</del> →{" "}
            </>
          )}
          {change.after}
        </Text>
      ))}
    </Stack>
  );
}

function Source({ entry }: { entry: Entry }) {
  const source = entry.event.source;
  if (!source) {
    return (
      <Text size="sm" c="dimmed">
        {entry.event.service}
      </Text>
    );
  }
  return (
    <Stack gap={0}>
      <Text size="sm">{source.channel}</Text>
      {source.address ? (
        <Text size="xs" c="dimmed">
          {source.address}
        </Text>
      ) : null}
      {source.request_id ? (
        <Text size="xs" c="dimmed" ff="monospace">
          {source.request_id}
        </Text>
      ) : null}
    </Stack>
  );
}
