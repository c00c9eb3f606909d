import { useState } from "react";
import { api } from "@/api/client";
import { asApiError } from "@/api/errors";
import { formatCredits } from "@/format/credits";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import {
  Button,
  type Column,
  DataTable,
  EmptyState,
  Group,
  LoadMore,
  notify,
  RouteLink,
  Text,
  Time,
} from "@/ui";
import { DownloadIcon } from "@/ui/icons";
import { type CreditEntry, historyCsv, KIND_WORDS, requestsOf } from "./history";

interface LedgerProps {
  entries: readonly CreditEntry[];
  more: boolean;
  busy: boolean;
  onMore: () => void;
}

/** Every change of the balance, newest first, with the balance after it. */
export function Ledger({ entries, more, busy, onMore }: LedgerProps) {
  const tenant = useTenant();
  return (
    <>
      <Group justify="space-between">
        <Text size="sm" c="dimmed">
          Requests on the platform's keys are added up to one entry for each day in UTC.
        </Text>
        <DownloadCsv />
      </Group>
      <DataTable
        caption="Changes of the balance"
        columns={columnsOf(tenant)}
        rows={entries}
        rowKey={(entry) => entry.entry_id}
        empty={<EmptyState title="Nothing has changed the balance yet" />}
      />
      {entries.length > 0 ? (
        <LoadMore shown={entries.length} noun="entries" more={more} busy={busy} onMore={onMore} />
      ) : null}
    </>
  );
}

function signed(credits: string): string {
  return credits.startsWith("-") ? `−${formatCredits(credits.slice(1))}` : `+${formatCredits(credits)}`;
}

function changeOf(entry: CreditEntry): string {
  return entry.kind === "debt" ? `owed ${formatCredits(entry.owed ?? "0")}` : signed(entry.credits);
}

function columnsOf(tenant: string): readonly Column<CreditEntry>[] {
  return [
    { id: "at", header: "Time", rowHeader: true, cell: (entry) => <Time iso={entry.at} /> },
    {
      id: "kind",
      header: "What",
      cell: (entry) => {
        const search = requestsOf(entry);
        return search === null ? (
          KIND_WORDS[entry.kind]
        ) : (
          <RouteLink to={tenantPath(tenant, `requests${search}`)} inherit>
            {KIND_WORDS[entry.kind]}
          </RouteLink>
        );
      },
    },
    { id: "reason", header: "Why", cell: (entry) => entry.reason ?? "" },
    { id: "credits", header: "Credits", numeric: true, cell: changeOf },
    { id: "balance", header: "Balance after", numeric: true, cell: (entry) => formatCredits(entry.balance) },
  ];
}

/** The most entries that are put into a file: more than a hundred years of days. */
const MOST_PAGES = 200;

async function readAll(): Promise<readonly CreditEntry[]> {
  const entries: CreditEntry[] = [];
  let after: string | undefined;
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const query: { limit: number; after?: string } =
      after === undefined ? { limit: 200 } : { limit: 200, after };
    const { data } = await api.GET("/api/v1/credits/history", { params: { query } });
    entries.push(...(data?.entries ?? []));
    after = data?.next ?? undefined;
    if (after === undefined) {
      break;
    }
  }
  return entries;
}

function DownloadCsv() {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    setBusy(true);
    try {
      const url = URL.createObjectURL(new Blob([historyCsv(await readAll())], { type: "text/csv" }));
      const link = document.createElement("a");
      link.href = url;
      link.download = "credits.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 0);
    } catch (error) {
      notify(`Could not download credits.csv: ${asApiError(error).message}`, "error");
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button
      variant="default"
      size="xs"
      leftSection={<DownloadIcon size={14} aria-hidden />}
      onClick={() => void save()}
      loading={busy}
    >
      CSV
    </Button>
  );
}
