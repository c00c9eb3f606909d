import { query } from "@/api/client";
import { formatExact, formatTotal } from "@/format/money";
import { formatCompact, formatCount, formatShare } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { SimpleGrid, StatTile } from "@/ui";
import { Sparkline } from "@/ui/charts";
import type { Today } from "./state";

interface TodayTilesProps {
  today: Today;
  span: { readonly since: string };
}

function permille(now: number, usual: number | undefined): number | null {
  return usual ? Math.round(((now - usual) * 1000) / usual) : null;
}

/** Today's figures against a usual day of the same name, each linked to the requests behind it. */
export function TodayTiles({ today, span }: TodayTilesProps) {
  const tenant = useTenant();
  const summary = query.useQuery("get", "/api/v1/usage/summary", {
    params: { query: { since: span.since } },
  });
  const total = summary.data?.total;
  const to = (more = "") => tenantPath(tenant, `requests?since=${encodeURIComponent(span.since)}${more}`);
  const against = today.usual === null ? "today" : `today, against a usual ${today.weekday}`;
  const highest = Math.max(0, ...today.hours);
  return (
    <SimpleGrid cols={{ base: 2, md: 4 }} spacing="sm">
      <StatTile
        label="Spend"
        value={formatTotal(today.spend)}
        exact={formatExact(today.spend)}
        changePermille={permille(today.spend, today.usual?.spend)}
        direction="up-is-bad"
        to={to()}
        detail={
          <>
            {against}
            <Sparkline
              values={today.hours}
              label={`Spend per hour of today, at most ${formatTotal(highest)}`}
            />
          </>
        }
      />
      <StatTile
        label="Requests"
        value={formatCompact(today.requests)}
        exact={formatCount(today.requests)}
        changePermille={permille(today.requests, today.usual?.requests)}
        to={to()}
        detail={against}
      />
      <StatTile
        label="Tokens"
        value={formatCompact(today.tokens)}
        exact={formatCount(today.tokens)}
        changePermille={permille(today.tokens, today.usual?.tokens)}
        to={to()}
        detail={against}
      />
      <StatTile
        label="Error rate"
        value={
          total ? (total.attempts === 0 ? "no traffic" : formatShare(total.failed / total.attempts)) : "…"
        }
        to={to("&outcome=failed")}
        detail={
          total?.attempts
            ? `${formatCount(total.failed)} of ${formatCount(total.attempts)} attempts failed`
            : "today"
        }
      />
    </SimpleGrid>
  );
}
