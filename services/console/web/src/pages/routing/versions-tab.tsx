import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import {
  ActionButton,
  Button,
  type Column,
  ConfirmDialog,
  DataTable,
  EmptyState,
  Group,
  LoadMore,
  notify,
  Panel,
  QueryState,
  Snippet,
  Stack,
  StatusMark,
  Text,
  TextInput,
  Time,
} from "@/ui";
import { useActorNames } from "./actors";
import { DiffView } from "./diff-view";
import { diffLines } from "./line-diff";
import { formatRules } from "./rules-text";

type Summary = Schemas["RuleVersionSummary"];

interface VersionsTabProps {
  published: number;
  /** The version that is shown; 0 for none. */
  shown: number;
  onShow: (version: number) => void;
}

/** All versions, newest first; each can be compared with the one in force, and published again. */
export function VersionsTab({ published, shown, onShow }: VersionsTabProps) {
  const nameOf = useActorNames();
  const versions = query.useInfiniteQuery(
    "get",
    "/api/v1/routing/rules/versions",
    { params: { query: { limit: 50 } } },
    BY_PAGES,
  );
  const columns: readonly Column<Summary>[] = [
    {
      id: "version",
      header: "Version",
      rowHeader: true,
      cell: (row) => (
        <Group gap="xs" wrap="nowrap">
          {row.version}
          {row.version === published ? <StatusMark kind="ok">in force</StatusMark> : null}
        </Group>
      ),
    },
    { id: "published", header: "Published", cell: (row) => <Time iso={row.published_at} /> },
    { id: "actor", header: "By", cell: (row) => nameOf(row.actor) },
    {
      id: "note",
      header: "Note",
      cell: (row) =>
        [row.note, row.restored_from ? `version ${row.restored_from} again` : ""]
          .filter(Boolean)
          .join(" · ") || "none",
    },
    { id: "rules", header: "Rules", cell: (row) => row.rules, numeric: true },
    {
      id: "look",
      header: "Look",
      cell: (row) => (
        <Button
          size="compact-sm"
          variant="default"
          aria-pressed={row.version === shown}
          aria-label={`Look at version ${row.version}`}
          onClick={() => onShow(row.version === shown ? 0 : row.version)}
        >
          {row.version === shown ? "Close" : "Look"}
        </Button>
      ),
    },
  ];
  return (
    <Stack gap="md">
      <QueryState what="the versions" query={versions} height={240}>
        {(data) => {
          const rows = data.pages.flatMap((page) => page.data);
          return (
            <Stack gap="sm">
              <DataTable
                caption="Versions of the rules"
                columns={columns}
                rows={rows}
                rowKey={(row) => String(row.version)}
                currentKey={shown === 0 ? null : String(shown)}
                empty={
                  <EmptyState title="Nothing was published yet">Publish rules to have a version.</EmptyState>
                }
              />
              {rows.length > 0 ? (
                <LoadMore
                  shown={rows.length}
                  noun={rows.length === 1 ? "version" : "versions"}
                  more={versions.hasNextPage}
                  busy={versions.isFetchingNextPage}
                  onMore={() => void versions.fetchNextPage()}
                />
              ) : null}
            </Stack>
          );
        }}
      </QueryState>
      {shown > 0 ? (
        <VersionPanel
          key={shown}
          number={shown}
          published={published}
          onRolledBack={async () => {
            onShow(0);
            await versions.refetch();
          }}
        />
      ) : null}
    </Stack>
  );
}

interface VersionPanelProps {
  number: number;
  published: number;
  onRolledBack: () => Promise<void>;
}

function VersionPanel({ number, published, onRolledBack }: VersionPanelProps) {
  const version = query.useQuery("get", "/api/v1/routing/rules", { params: { query: { version: number } } });
  const current = query.useQuery("get", "/api/v1/routing/rules", { params: { query: {} } });
  const [asking, setAsking] = useState(false);
  const before = formatRules(current.data?.version?.rule_set.rules ?? [], "yaml");
  return (
    <Panel
      title={`Version ${number}`}
      actions={
        <ActionButton
          operation="roll_back_routing_rules"
          size="xs"
          variant="default"
          disabledReason={number === published ? "It is in force already." : undefined}
          onClick={() => setAsking(true)}
        >
          Roll back to version {number}
        </ActionButton>
      }
    >
      <QueryState what={`version ${number}`} query={version} height={160}>
        {(found) => {
          const text = formatRules(found.version?.rule_set.rules ?? [], "yaml");
          return number === published ? (
            <Snippet code={text} label={`the rules of version ${number}`} />
          ) : (
            <Stack gap="xs">
              <Text size="sm">What rolling back would change: + comes back, − goes.</Text>
              <DiffView label={`Version ${number} and the one in force`} lines={diffLines(before, text)} />
            </Stack>
          );
        }}
      </QueryState>
      {asking ? (
        <RollBackDialog
          number={number}
          published={published}
          onClose={() => setAsking(false)}
          onRolledBack={onRolledBack}
        />
      ) : null}
    </Panel>
  );
}

function RollBackDialog({
  number,
  published,
  onClose,
  onRolledBack,
}: VersionPanelProps & { onClose: () => void }) {
  const [note, setNote] = useState("");
  const rollBack = query.useMutation("post", "/api/v1/routing/rules/rollback");
  const confirm = async () => {
    try {
      const answer = await rollBack.mutateAsync({
        body: { version: number, note, expected_version: published },
      });
      notify(`The rules of version ${number} are in force again, as version ${answer.version.version}.`);
      onClose();
      await onRolledBack();
    } catch {
      // The mutation holds the error, which the dialog shows.
    }
  };
  return (
    <ConfirmDialog
      opened
      title={`Roll back to version ${number}?`}
      verb="Roll back"
      busy={rollBack.isPending}
      error={rollBack.error}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Stack gap="sm">
        <Text size="sm">
          Its rules are published again as version {published + 1} and hold within a second. Version{" "}
          {published} stays in the list. A draft is kept.
        </Text>
        <TextInput
          label="Note"
          maxLength={500}
          value={note}
          onChange={(event) => setNote(event.currentTarget.value)}
        />
      </Stack>
    </ConfirmDialog>
  );
}
