import type { Schemas } from "@/api/client";
import { useBreakdown } from "@/components/use-breakdown";
import { formatCompact, formatCount, formatShare } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { type Column, DataTable, Group, Money, Panel, QueryState, RouteLink, Stack, Text } from "@/ui";

type Row = Schemas["BreakdownRow"];

/** What a key was used for in the last seven days. */
export function KeyUsage({ keyId }: { keyId: string }) {
  const tenant = useTenant();
  const usage = useBreakdown({ by: ["model"], period: "7d", key: [keyId], limit: 8 });
  const link = (more: Record<string, string> = {}) =>
    tenantPath(tenant, `requests?${new URLSearchParams({ key: keyId, range: "7d", ...more })}`);
  const columns: Column<Row>[] = [
    { id: "model", header: "Model", rowHeader: true, cell: (row) => row.keys[0]?.value ?? "other" },
    { id: "requests", header: "Requests", numeric: true, cell: (row) => formatCount(row.figures.requests) },
    { id: "tokens", header: "Tokens", numeric: true, cell: (row) => formatCompact(row.figures.total_tokens) },
    {
      id: "spend",
      header: "Cost",
      numeric: true,
      cell: (row) => <Money micro={row.figures.spend_micro_usd} />,
    },
  ];
  return (
    <Panel title="Last 7 days">
      <QueryState what="the usage of this key" query={usage} height={160}>
        {({ total, rows }) =>
          total.requests === 0 ? (
            <Text size="sm">No request used this key.</Text>
          ) : (
            <Stack gap="sm">
              <Group gap="lg">
                <Text size="sm">
                  <RouteLink to={link()}>{formatCount(total.requests)} requests</RouteLink>
                </Text>
                <Text size="sm">
                  <Money micro={total.spend_micro_usd} /> estimated
                </Text>
                <Text size="sm">
                  {formatShare(total.attempts === 0 ? 0 : total.failed / total.attempts)} errors
                </Text>
              </Group>
              <DataTable
                caption="Usage by model"
                columns={columns}
                rows={rows}
                rowKey={(row) => row.keys[0]?.value ?? ""}
              />
            </Stack>
          )
        }
      </QueryState>
    </Panel>
  );
}
