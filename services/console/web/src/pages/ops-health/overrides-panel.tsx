import { query } from "@/api/client";
import { Button, type Column, DataTable, EmptyState, ErrorNotice, notify, Panel, Time } from "@/ui";
import type { Override } from "./force-body";

interface OverridesPanelProps {
  overrides: readonly Override[];
  onReleased: () => void;
}

function placeWords(row: Override): string {
  const place = row.endpoint ? `${row.tenant ?? ""}/${row.endpoint}` : row.provider;
  return row.model ? `${place}/${row.model}` : `${place}, all models`;
}

/** The circuits that operators hold, each of which can be released before its time. */
export function OverridesPanel({ overrides, onReleased }: OverridesPanelProps) {
  const release = query.useMutation("post", "/api/v1/ops/health/release");
  const end = (row: Override) =>
    release.mutate(
      {
        body: {
          provider: row.provider,
          model: row.model ?? null,
          endpoint: row.endpoint ?? null,
          tenant: row.tenant ?? null,
        },
      },
      {
        onSuccess: () => {
          notify(`${placeWords(row)} is not forced any more.`);
          onReleased();
        },
      },
    );
  const columns: readonly Column<Override>[] = [
    { id: "place", header: "What", rowHeader: true, cell: placeWords },
    { id: "state", header: "Forced", cell: (row) => row.state },
    { id: "reason", header: "Reason", cell: (row) => row.reason },
    { id: "actor", header: "By", cell: (row) => row.actor },
    { id: "since", header: "Since", cell: (row) => <Time iso={row.since} /> },
    { id: "until", header: "Until", cell: (row) => <Time iso={row.until} /> },
    {
      id: "release",
      header: "Action",
      cell: (row) => (
        <Button
          variant="default"
          size="compact-sm"
          onClick={() => end(row)}
          loading={release.isPending}
          aria-label={`Release ${placeWords(row)}`}
        >
          Release
        </Button>
      ),
    },
  ];
  return (
    <Panel title="Forced circuits">
      {release.error ? <ErrorNotice what="the release" error={release.error} change /> : null}
      <DataTable
        caption="Circuits that operators force open or closed"
        columns={columns}
        rows={overrides}
        rowKey={placeWords}
        empty={
          <EmptyState title="No circuit is forced">
            All circuits follow what attempts and probes show.
          </EmptyState>
        }
      />
    </Panel>
  );
}
