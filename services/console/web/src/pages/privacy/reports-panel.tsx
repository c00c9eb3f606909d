import { useState } from "react";
import { query, type Schemas, sendRaw } from "@/api/client";
import { asApiError } from "@/api/errors";
import { useAccess } from "@/session/access";
import {
  ActionButton,
  Anchor,
  type Column,
  DataTable,
  EmptyState,
  Group,
  NativeSelect,
  notify,
  Panel,
  QueryState,
  Stack,
  Text,
  Time,
} from "@/ui";
import { DownloadIcon } from "@/ui/icons";
import { isCompleteExport } from "./export";

const DAY_MS = 86_400_000;

/** Where data went, and what can be downloaded about it. */
export function ReportsPanel() {
  const access = useAccess("get_compliance");
  const [days, setDays] = useState("30");
  return (
    <Panel
      title="Where data went"
      actions={
        <NativeSelect
          aria-label="Days of the report"
          size="xs"
          data={[
            { value: "7", label: "Last 7 days" },
            { value: "30", label: "Last 30 days" },
            { value: "90", label: "Last 90 days" },
          ]}
          value={days}
          onChange={(event) => setDays(event.currentTarget.value)}
        />
      }
    >
      {access.allowed ? (
        <Report days={Number(days)} key={days} />
      ) : (
        <EmptyState title="The compliance report is for owners and admins">{access.reason}</EmptyState>
      )}
    </Panel>
  );
}

function Report({ days }: { days: number }) {
  // The span is fixed once, so that asking again does not make another query of it.
  const [since] = useState(() => new Date(Date.now() - days * DAY_MS).toISOString());
  const report = query.useQuery("get", "/api/v1/compliance", { params: { query: { since } } });
  return (
    <QueryState what="the compliance report" query={report} height={520}>
      {(data) => (
        <Stack gap="sm">
          <Destinations report={data} />
          <Group>
            <ActionButton
              operation="get_compliance"
              variant="default"
              leftSection={<DownloadIcon size={16} aria-hidden />}
              onClick={() =>
                save(JSON.stringify(data, null, 2), "application/json", `compliance-${data.tenant}.json`)
              }
            >
              Download compliance report
            </ActionButton>
          </Group>
        </Stack>
      )}
    </QueryState>
  );
}

type Destination = Schemas["DataDestination"];

const COLUMNS: readonly Column<Destination>[] = [
  { id: "provider", header: "Provider", cell: (row) => row.endpoint ?? row.provider, rowHeader: true },
  { id: "origin", header: "Address", cell: (row) => row.origin ?? "the provider's own" },
  { id: "region", header: "Region", cell: (row) => row.region ?? "not stated" },
  { id: "keys", header: "Keys", cell: (row) => KEY_SOURCES[row.key_source] },
  { id: "attempts", header: "Attempts", cell: (row) => row.attempts.toLocaleString("en-US"), numeric: true },
  { id: "last", header: "Last", cell: (row) => <Time iso={row.last_at} relative /> },
];

const KEY_SOURCES: Record<Schemas["KeySource"], string> = {
  platform: "platform's",
  byok: "your own",
  custom: "own server",
  none: "none",
};

function Destinations({ report }: { report: Schemas["ComplianceReport"] }) {
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const used = new Set(report.destinations.map(({ provider }) => provider));
  const linked = providers.data?.data.filter(({ name, docs_url }) => used.has(name) && docs_url) ?? [];
  return (
    <Stack gap="sm">
      <DataTable
        caption="Providers and addresses that requests were sent to"
        columns={COLUMNS}
        rows={report.destinations}
        rowKey={(row) =>
          [row.provider, row.endpoint, row.origin, row.key_id, row.key_source, row.region].join(" ")
        }
        empty={<EmptyState title="No request was sent anywhere in these days" />}
      />
      <Text size="sm" c="dimmed">
        How long a provider keeps what it gets is in its own terms; Keyferry does not know them.
        {linked.length > 0 ? " Read them there: " : ""}
        {linked.map(({ name, title, docs_url }, index) => (
          <span key={name}>
            {index > 0 ? ", " : ""}
            <Anchor underline="always" href={docs_url ?? undefined} target="_blank" rel="noreferrer">
              {title}
            </Anchor>
          </span>
        ))}
        {linked.length > 0 ? "." : ""}
      </Text>
      <Text size="sm" c="dimmed">
        {keptInWords("Records of attempts", report.attempts_kept_days)}{" "}
        {keptInWords("Records of decisions", report.decisions_kept_days)}
      </Text>
    </Stack>
  );
}

function keptInWords(what: string, days: number | null | undefined): string {
  return days === null || days === undefined
    ? `${what} are kept until the tenant is deleted.`
    : `${what} are kept for ${days} days.`;
}

/** Download everything of the tenant. */
export function ExportPanel() {
  const own = query.useQuery("get", "/api/v1/tenant");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);
  const start = async () => {
    setBusy(true);
    setFailure(null);
    try {
      const response = await sendRaw("GET", "/api/v1/export");
      const file = await response.blob();
      const end = await file.slice(-4096).text();
      if (isCompleteExport(end)) {
        save(file, "application/jsonl", `${own.data?.tenant ?? "tenant"}.jsonl`);
        notify("The export is complete.");
      } else {
        setFailure("The export broke off before its end, and was not saved. Try again.");
      }
    } catch (error) {
      setFailure(asApiError(error).message);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Panel title="Export">
      <Text size="sm">
        One file of JSON lines with settings, keys and client tokens without their secrets, members,
        preferences, all versions of the rules, requests with their costs, credits and the audit log. Stored
        prompts and answers are not in it.
      </Text>
      {failure ? (
        <Text size="sm" c="error" role="alert">
          {failure}
        </Text>
      ) : null}
      <Group>
        <ActionButton
          operation="export_tenant"
          variant="default"
          leftSection={<DownloadIcon size={16} aria-hidden />}
          loading={busy}
          onClick={() => void start()}
        >
          Download export
        </ActionButton>
      </Group>
    </Panel>
  );
}

function save(content: BlobPart, type: string, filename: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = filename;
  link.click();
  // The browser has taken the data over once the click is handled.
  setTimeout(() => URL.revokeObjectURL(url), 0);
}
