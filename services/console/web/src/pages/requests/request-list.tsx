import { useEffect } from "react";
import { countOf } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import {
  Button,
  EmptyState,
  LoadMore,
  Panel,
  QueryState,
  RouteLink,
  useMediaQuery,
  VisuallyHidden,
} from "@/ui";
import type { PageSearch } from "@/url/search";
import { activeFilters, NO_FILTERS, type REQUEST_SEARCH } from "./filters";
import { rememberList } from "./neighbours";
import { RequestCards } from "./request-cards";
import { RequestTable } from "./request-table";
import type { useRequests } from "./use-requests";

interface RequestListProps {
  requests: ReturnType<typeof useRequests>;
  search: PageSearch<typeof REQUEST_SEARCH>;
  basePath: string;
}

/** The requests that match, what has arrived since, and why there are none. */
export function RequestList({ requests, search, basePath }: RequestListProps) {
  const { list, rows, arrived, showNew } = requests;
  const wide = useMediaQuery("(min-width: 82em)");
  const narrow = useMediaQuery("(max-width: 47.99em)");
  const address = search.href({});
  useEffect(() => {
    // On the way to a request the address is already that of the request.
    if (address === basePath || address.startsWith(`${basePath}?`)) {
      rememberList(
        rows.map((row) => row.request_id),
        address,
      );
    }
  }, [rows, address, basePath]);
  const more = () => {
    if (list.hasNextPage && !list.isFetchingNextPage) {
      void list.fetchNextPage();
    }
  };
  const words = countOf(arrived, "new request");
  const lastPage = list.data?.pages.at(-1);
  const onNearEnd = () => {
    // Pages without a request follow each other where matches are rare: those are asked for by hand.
    if ((lastPage?.data.length ?? 0) > 0) {
      more();
    }
  };
  return (
    <Panel
      title="Requests"
      actions={
        <>
          <VisuallyHidden role="status">{arrived > 0 ? words : ""}</VisuallyHidden>
          <Button variant={arrived > 0 ? "filled" : "default"} size="xs" onClick={showNew}>
            {arrived > 0 ? `Show ${words}` : "Refresh"}
          </Button>
        </>
      }
    >
      <QueryState what="the requests" query={list} height={480} key={rows.length === 0 ? "empty" : "rows"}>
        {() =>
          rows.length === 0 && !list.hasNextPage ? (
            <NoRequests search={search} />
          ) : (
            <>
              {narrow ? (
                <RequestCards rows={rows} basePath={basePath} />
              ) : (
                <RequestTable rows={rows} basePath={basePath} wide={wide} onNearEnd={onNearEnd} />
              )}
              <LoadMore
                shown={rows.length}
                noun={rows.length === 1 ? "request" : "requests"}
                more={list.hasNextPage}
                busy={list.isFetchingNextPage}
                onMore={more}
              />
            </>
          )
        }
      </QueryState>
    </Panel>
  );
}

function NoRequests({ search }: { search: PageSearch<typeof REQUEST_SEARCH> }) {
  const tenant = useTenant();
  const count = activeFilters(search.values).length;
  if (count > 0) {
    return (
      <EmptyState
        title="No request matches"
        action={
          <Button variant="default" onClick={() => search.change(NO_FILTERS, "push")}>
            Clear {countOf(count, "filter")}
          </Button>
        }
      >
        No request of this time satisfies all filters. Choose a longer range, or remove a filter.
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title="No requests in this time"
      action={<RouteLink to={tenantPath(tenant, "quick-start")}>Send a first request</RouteLink>}
    >
      Requests appear here about a second after they have ended, also those that failed or were refused.
      Choose a longer range to see earlier ones.
    </EmptyState>
  );
}
