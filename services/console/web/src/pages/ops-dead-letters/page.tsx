import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { countOf, formatCount } from "@/format/numbers";
import { useRefetchOn } from "@/live/live";
import {
  Button,
  type Column,
  ConfirmDialog,
  DataTable,
  EmptyState,
  Group,
  LoadMore,
  notify,
  Page,
  Panel,
  QueryState,
  Text,
  Time,
} from "@/ui";
import { NoParameters } from "@/url/no-parameters";
import { LetterDrawer } from "./letter";

type Entry = Schemas["DeadLetterEntry"];
const TOPICS = ["dead_letters"] as const;
const PATHS = ["/api/v1/ops/dead-letters"];

/** Messages that a service could not process, with what to do about each. */
export default function OpsDeadLettersPage() {
  const cache = useQueryClient();
  const [opened, setOpened] = useState<number | null>(null);
  const [discarding, setDiscarding] = useState<Entry | null>(null);
  useRefetchOn(TOPICS, PATHS);
  const letters = query.useInfiniteQuery(
    "get",
    "/api/v1/ops/dead-letters",
    {},
    {
      pageParamName: "after",
      initialPageParam: null,
      getNextPageParam: (page: Schemas["DeadLetters"]) => page.entries.at(-1)?.number,
    },
  );
  const replay = query.useMutation("post", "/api/v1/ops/dead-letters/replay", {
    onError: (error) => notify(`Not replayed: ${asApiError(error).message}`, "error"),
    onSuccess: ({ letters: replayed }) => {
      notify(
        (replayed ?? []).map((letter) => `${letter.number}: ${letter.detail}`).join(" ") ||
          "Nothing to replay.",
      );
      void cache.invalidateQueries();
    },
  });
  const discard = query.useMutation("post", "/api/v1/ops/dead-letters/discard", {
    onSuccess: () => {
      setDiscarding(null);
      void cache.invalidateQueries();
    },
  });
  const columns: readonly Column<Entry>[] = [
    {
      id: "number",
      header: "Letter",
      rowHeader: true,
      cell: (entry) => (
        <Button variant="subtle" size="compact-sm" onClick={() => setOpened(entry.number)}>
          {entry.number}
        </Button>
      ),
    },
    { id: "at", header: "Arrived", cell: (entry) => <Time iso={entry.at} /> },
    { id: "producer", header: "From", cell: (entry) => entry.producer },
    { id: "stream", header: "Stream", cell: (entry) => entry.stream },
    { id: "reason", header: "Why", cell: (entry) => <Text size="sm">{entry.reason}</Text> },
    { id: "size", header: "Bytes", numeric: true, cell: (entry) => formatCount(entry.size_bytes) },
    {
      id: "actions",
      header: "Actions",
      cell: (entry) => (
        <Group gap="xs" wrap="nowrap">
          <Button
            variant="default"
            size="xs"
            aria-label={`Replay letter ${entry.number}`}
            onClick={() => replay.mutate({ body: { number: entry.number } })}
          >
            Replay
          </Button>
          <Button
            variant="default"
            size="xs"
            aria-label={`Discard letter ${entry.number}`}
            onClick={() => setDiscarding(entry)}
          >
            Discard
          </Button>
        </Group>
      ),
    },
  ];
  return (
    <Page
      title="Dead letters"
      description="Messages that the ledger could not process. Replaying one that is known already changes nothing."
    >
      <NoParameters />
      <Panel title="Letters">
        <QueryState what="the dead letters" query={letters} height={320}>
          {(data) => {
            const rows = data.pages.flatMap((page) => page.entries);
            return (
              <>
                <DataTable
                  caption="Dead letters"
                  columns={columns}
                  rows={rows}
                  rowKey={(entry) => String(entry.number)}
                  empty={<EmptyState title="No dead letters">Every message has been processed.</EmptyState>}
                />
                {rows.length > 0 ? (
                  <LoadMore
                    shown={rows.length}
                    noun={`of ${countOf(data.pages[0]?.total ?? rows.length, "letter")}`}
                    more={rows.length < (data.pages[0]?.total ?? 0)}
                    busy={letters.isFetchingNextPage}
                    onMore={() => void letters.fetchNextPage()}
                  />
                ) : null}
              </>
            );
          }}
        </QueryState>
      </Panel>
      {opened === null ? null : <LetterDrawer number={opened} onClose={() => setOpened(null)} />}
      <ConfirmDialog
        opened={discarding !== null}
        title={`Discard letter ${discarding?.number ?? ""}?`}
        verb="Discard letter"
        busy={discard.isPending}
        error={discard.error}
        onClose={() => setDiscarding(null)}
        onConfirm={() => {
          if (discarding) {
            discard.mutate({ body: { up_to: discarding.number, only: true } });
          }
        }}
      >
        <Text size="sm">
          What it records is lost: a usage record that is discarded is never counted or charged.{" "}
          {discarding?.reason}
        </Text>
      </ConfirmDialog>
    </Page>
  );
}
