import { query } from "@/api/client";
import { toQuery } from "@/api/download";
import { BY_PAGES } from "@/api/pages";
import { useAccess } from "@/session/access";
import { useTimeZone } from "@/session/time-zone";
import { DownloadButton, EmptyState, LoadMore, Page, Panel, QueryState } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { AuditFilterBar } from "./filter-bar";
import { AUDIT_SEARCH, auditQuery } from "./filters";
import { AuditTable } from "./table";
import { VerifyChain } from "./verify";

const PAGE_SIZE = 100;

/** Who changed what, and from where. */
export default function AuditPage() {
  const access = useAccess("list_audit");
  const zone = useTimeZone();
  return (
    <Page title="Audit log" description={`Who changed what, when and from where. Times are ${zone}.`}>
      {access.allowed ? (
        <AuditLog />
      ) : (
        <EmptyState title="You cannot read the audit log">{access.reason}</EmptyState>
      )}
    </Page>
  );
}

function AuditLog() {
  const search = usePageSearch(AUDIT_SEARCH);
  const filters = auditQuery(search.values);
  const log = query.useInfiniteQuery(
    "get",
    "/api/v1/audit",
    { params: { query: { ...filters, limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const exportPath = (format: "csv" | "jsonl") => `/api/v1/audit/export${toQuery({ ...filters, format })}`;
  return (
    <>
      <DroppedNotice dropped={search.dropped} />
      <VerifyChain />
      <Panel
        title="Entries"
        actions={
          <>
            <DownloadButton label="CSV" path={exportPath("csv")} filename="audit.csv" />
            <DownloadButton label="JSON lines" path={exportPath("jsonl")} filename="audit.jsonl" />
          </>
        }
      >
        <AuditFilterBar search={search} />
        <QueryState what="the audit log" query={log} height={480}>
          {(data) => {
            const entries = data.pages.flatMap((page) => page.data);
            return (
              <>
                <AuditTable
                  entries={entries}
                  filtered={Object.keys(filters).length > 0}
                  onClear={() =>
                    search.change({ actor: "", action: "", target: "", since: null, until: null })
                  }
                />
                <LoadMore
                  shown={entries.length}
                  noun="entries"
                  more={log.hasNextPage}
                  busy={log.isFetchingNextPage}
                  onMore={() => void log.fetchNextPage()}
                />
              </>
            );
          }}
        </QueryState>
      </Panel>
    </>
  );
}
