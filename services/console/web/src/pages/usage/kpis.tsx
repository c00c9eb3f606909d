import { formatDuration } from "@/format/duration";
import { formatExact } from "@/format/money";
import { countOf, formatCompact, formatCount } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { SimpleGrid, StatTile } from "@/ui";
import { changePermille, errorRate, rateText, type Summary, spendText, unknownText } from "./prepare";
import { type LogFilters, requestsSearch, type UsageSearch } from "./search";

/** The totals, each with its change against the span before, linked to the requests that add up to it. */
export function Kpis({ summary, values }: { summary: Summary; values: UsageSearch }) {
  const tenant = useTenant();
  const { total, previous, change } = summary;
  const to = (more: LogFilters = {}) => {
    const search = requestsSearch(values, summary, more);
    return search === null ? {} : { to: tenantPath(tenant, `requests${search}`) };
  };
  const p95 = total.latency?.p95_ms;
  const firstToken = total.first_token?.p50_ms;
  return (
    <SimpleGrid cols={{ base: 2, sm: 3, lg: 6 }} spacing="sm">
      <StatTile
        label="Spend"
        value={spendText(total)}
        exact={typeof total.spend_micro_usd === "number" ? formatExact(total.spend_micro_usd) : "unknown"}
        changePermille={change?.spend_permille ?? null}
        direction="up-is-bad"
        detail={unknownText(total) ?? "US dollars"}
        {...to()}
      />
      <StatTile
        label="Requests"
        value={formatCompact(total.requests)}
        exact={formatCount(total.requests)}
        changePermille={change?.requests_permille ?? null}
        detail={countOf(total.attempts, "attempt")}
        {...to()}
      />
      <StatTile
        label="Tokens"
        value={formatCompact(total.total_tokens)}
        exact={formatCount(total.total_tokens)}
        changePermille={change?.tokens_permille ?? null}
        detail="prompts and answers"
        {...to()}
      />
      <StatTile
        label="Error rate"
        value={rateText(errorRate(total))}
        changePermille={changePermille(errorRate(total), previous ? errorRate(previous) : null)}
        direction="up-is-bad"
        detail={`${formatCount(total.failed)} of ${countOf(total.attempts, "attempt")}`}
        {...to({ outcome: "failed" })}
      />
      <StatTile
        label="P95 latency"
        value={p95 === undefined ? "–" : formatDuration(p95)}
        changePermille={change?.p95_permille ?? null}
        direction="up-is-bad"
        detail="of completed attempts"
        {...to()}
      />
      <StatTile
        label="First token, median"
        value={firstToken === undefined ? "–" : formatDuration(firstToken)}
        changePermille={changePermille(firstToken, previous?.first_token?.p50_ms)}
        direction="up-is-bad"
        detail="of streamed answers"
        {...to()}
      />
    </SimpleGrid>
  );
}
