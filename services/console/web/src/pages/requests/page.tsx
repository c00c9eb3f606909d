import { useMemo } from "react";
import { toQuery } from "@/api/download";
import { useHealth } from "@/components/use-health";
import { countOf, formatCount } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { useTimeZone } from "@/session/time-zone";
import { DownloadButton, Page } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { CopyLink } from "./copy-link";
import { FilterBar } from "./filter-bar";
import { REQUEST_SEARCH, requestQuery } from "./filters";
import { RequestList } from "./request-list";
import { useRequests } from "./use-requests";
import { VolumePanel } from "./volume-panel";

/** What just happened, which requests failed and why. */
export default function RequestsPage() {
  const tenant = useTenant();
  const zone = useTimeZone();
  const search = usePageSearch(REQUEST_SEARCH);
  const requests = useRequests(search.values);
  const health = useHealth();
  const servers = useMemo(
    () => new Set((health.data?.targets ?? []).flatMap(({ target }) => target.endpoint ?? [])),
    [health.data],
  );
  const { span, total } = requests;
  const exportPath = (format: "csv" | "jsonl") =>
    `/api/v1/requests/export${toQuery({ ...requestQuery(search.values, span), format, tz: zone })}`;
  const count =
    total === null
      ? ""
      : total.more
        ? `${formatCount(total.count)}+ requests. `
        : `${countOf(total.count, "request")}. `;
  return (
    <Page
      title="Requests"
      description={`${count}Newest first, about a second after they ended. Times are ${zone}.`}
      actions={
        <>
          <CopyLink
            path={search.href({})}
            fixedPath={search.href({ since: span.since, until: span.until ?? new Date().toISOString() })}
          />
          <DownloadButton label="CSV" path={exportPath("csv")} filename={`requests-${tenant}.csv`} />
          <DownloadButton
            label="JSON lines"
            path={exportPath("jsonl")}
            filename={`requests-${tenant}.jsonl`}
          />
        </>
      }
    >
      <DroppedNotice dropped={search.dropped} />
      <FilterBar search={search} span={span} servers={servers} />
      <VolumePanel
        filters={search.values}
        span={span}
        servers={servers}
        onNarrow={(patch) => search.change(patch, "push")}
      />
      <RequestList requests={requests} search={search} basePath={tenantPath(tenant, "requests")} />
    </Page>
  );
}
