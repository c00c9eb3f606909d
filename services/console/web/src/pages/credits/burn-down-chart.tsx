import { formatDay } from "@/format/time";
import { startOfDay } from "@/format/zone";
import { EmptyState } from "@/ui";
import { type ChartSeries, Lines, MONEY, PALETTE, REST_COLOR } from "@/ui/charts";
import { lastingText } from "./forecast";
import type { Burn } from "./use-burn-down";

/** The most days ahead that are drawn. */
const AHEAD = 21;

/** The balance of the past two weeks, and where it is heading. */
export function BurnDownChart({ burn, zone }: { burn: Burn; zone: string }) {
  const { days, past, down } = burn;
  if (past.every((balance) => balance === null)) {
    return (
      <EmptyState title="No credits yet">
        The balance of each day appears here once credits are granted.
      </EmptyState>
    );
  }
  const ahead = down === null ? 0 : Math.min(AHEAD, Math.max(down.slow.length, down.likely.length) - 1);
  const today = days.at(-1) ?? "";
  const coming = Array.from({ length: ahead }, (_, index) =>
    new Date(Date.parse(`${today}T00:00:00Z`) + (index + 1) * 86_400_000).toISOString().slice(0, 10),
  );
  const label = (day: string) => formatDay(startOfDay(day, zone) ?? `${day}T00:00:00Z`, zone);
  const buckets = [...days, ...coming].map((day) => ({
    label: label(day),
    title: day > today ? `${label(day)} (projected)` : label(day),
    partial: day === today,
  }));
  const before = days.slice(0, -1).map(() => null);
  const projected = (balances: readonly number[]) => [
    ...before,
    ...Array.from({ length: ahead + 1 }, (_, index) => balances[index] ?? 0),
  ];
  const series: ChartSeries[] = [
    { name: "Balance", color: PALETTE[0] ?? REST_COLOR, values: [...past, ...coming.map(() => null)] },
  ];
  if (down !== null) {
    series.push(
      { name: "Expected", color: PALETTE[1] ?? REST_COLOR, values: projected(down.likely) },
      { name: "If days take less", color: REST_COLOR, values: projected(down.slow) },
      { name: "If days take more", color: REST_COLOR, values: projected(down.fast) },
    );
  }
  const summary =
    down === null ? "Balance at the end of each day" : `Balance, which lasts ${lastingText(down.lasting)}`;
  return (
    <Lines summary={summary} bucketName="Day" buckets={buckets} series={series} unit={MONEY} height={240} />
  );
}
