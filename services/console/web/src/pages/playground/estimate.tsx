import { useQueries } from "@tanstack/react-query";
import { query } from "@/api/client";
import { Stack, UsdText, useDebouncedValue } from "@/ui";

interface EstimateProps {
  /** The bodies that would be sent. */
  bodies: readonly Record<string, unknown>[];
}

const QUIET_MS = 600;

/** What the requests would cost, and who would pay, before they are sent. */
export function Estimate({ bodies }: EstimateProps) {
  const [settled] = useDebouncedValue(JSON.stringify(bodies), QUIET_MS);
  const requests: Record<string, never>[] = JSON.parse(settled);
  const estimates = useQueries({
    queries: requests.map((request) =>
      query.queryOptions(
        "post",
        "/api/v1/estimates",
        { body: { request } },
        { retry: false, staleTime: 60_000 },
      ),
    ),
  });
  return (
    <Stack gap={0}>
      {estimates.map(({ data, isFetching }, index) => {
        const cost = data?.named.costs?.[0];
        return (
          <span key={index}>
            {String(requests[index]?.model ?? "")}:{" "}
            {cost ? (
              <>
                <UsdText dollars={cost.low_cost_usd} exact /> to{" "}
                <UsdText dollars={cost.high_cost_usd} exact />, {PAYERS[cost.key_source] ?? cost.key_source}
              </>
            ) : isFetching ? (
              "estimating"
            ) : (
              (data?.named.detail ?? "no estimate")
            )}
          </span>
        );
      })}
    </Stack>
  );
}

const PAYERS: Record<string, string> = {
  byok: "billed to your key",
  platform: "paid with platform credits",
  custom: "on your own server",
  none: "free",
};
