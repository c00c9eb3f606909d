/** The list of requests for the filters of the page, with what has happened since it was loaded. */

import { keepPreviousData } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { query } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import type { LoggedRequest } from "@/components/request-words";
import { useLive } from "@/live/live";
import { activeFilters, type RequestFilters, requestQuery, type Span, spanOf } from "./filters";
import { matchesFilters, newerOf } from "./live-rows";

const PAGE_SIZE = 100;
const LISTENING = { staleTime: Number.POSITIVE_INFINITY, refetchOnWindowFocus: false };

interface Arrived {
  readonly ids: ReadonlySet<string>;
  /** Rows that are listed and have changed. */
  readonly changed: ReadonlyMap<string, LoggedRequest>;
  /** Requests that the stream left out because there were too many. */
  readonly skipped: number;
}

const NOTHING: Arrived = { ids: new Set(), changed: new Map(), skipped: 0 };

/** Return the requests of the filters; relative ranges end when the list was loaded or shown anew. */
export function useRequests(filters: RequestFilters) {
  const [now, setNow] = useState(() => new Date());
  const [arrived, setArrived] = useState(NOTHING);
  const span: Span = useMemo(() => spanOf(filters, now), [filters, now]);
  const [shownFor, setShownFor] = useState(filters);
  if (shownFor !== filters) {
    setShownFor(filters);
    setArrived(NOTHING);
  }
  const list = query.useInfiniteQuery(
    "get",
    "/api/v1/requests",
    { params: { query: { ...requestQuery(filters, span), limit: PAGE_SIZE, count: "true" } } },
    { ...BY_PAGES, ...LISTENING, placeholderData: keepPreviousData },
  );
  const pages = list.data?.pages;
  const loaded = useMemo(() => pages?.flatMap((page) => page.data) ?? [], [pages]);
  const rows = useMemo(
    () => loaded.map((row) => arrived.changed.get(row.request_id) ?? row),
    [loaded, arrived.changed],
  );
  const known = useMemo(() => new Set(loaded.map((row) => row.request_id)), [loaded]);
  useLive("requests", ({ requests, skipped }) => {
    // The installation's stream has counts in place of rows; this list is of one tenant.
    if (!Array.isArray(requests) || span.until !== null) {
      return;
    }
    setArrived((before) => {
      const ids = new Set(before.ids);
      const changed = new Map(before.changed);
      for (const { request, complete } of requests) {
        if (!known.has(request.request_id)) {
          if (matchesFilters(request, filters)) {
            ids.add(request.request_id);
          }
        } else if (complete) {
          const listed =
            changed.get(request.request_id) ?? loaded.find((row) => row.request_id === request.request_id);
          changed.set(request.request_id, listed ? newerOf(listed, request) : request);
        }
      }
      const missed = activeFilters(filters).length === 0 ? skipped : 0;
      return { ids, changed, skipped: before.skipped + missed };
    });
  });
  const showNew = () => {
    setArrived(NOTHING);
    setNow(new Date());
  };
  return {
    list,
    rows,
    span,
    total: pages?.[0]?.total ?? null,
    arrived: arrived.ids.size + arrived.skipped,
    showNew,
  };
}
