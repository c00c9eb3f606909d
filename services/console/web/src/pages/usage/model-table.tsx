import type { Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { formatCompact, formatCount } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { Badge, type Column, DataTable, EmptyState, Panel, QueryState, RouteLink, Text } from "@/ui";
import { assignColors, BarCell, REST_COLOR } from "@/ui/charts";
import type { PageSearch } from "@/url/search";
import { errorRate, type ModelRow, modelRows, type NameOf, rateText, sortRows, spendText } from "./prepare";
import { type LogFilters, requestsSearch, type USAGE_SEARCH, type UsageSearch } from "./search";
import type { CalmQuery } from "./use-usage";

type Breakdown = Schemas["UsageBreakdown"];

interface ModelTableProps {
  search: PageSearch<typeof USAGE_SEARCH>;
  query: CalmQuery<Breakdown>;
  nameOf: NameOf;
}

/** Cost and reliability by model, each row linked to its requests. */
export function ModelTable({ search, query, nameOf }: ModelTableProps) {
  return (
    <Panel title="By model">
      <QueryState what="the table by model" query={query} height={320}>
        {(data) => <Rows data={data} search={search} nameOf={nameOf} />}
      </QueryState>
    </Panel>
  );
}

/** Return the filters of the request log that make up a row; null if it stands for several. */
function filtersOf(row: ModelRow): LogFilters | null {
  const filters: LogFilters = {};
  for (const [name, key] of [
    ["model", row.model],
    ["provider", row.provider],
    ["key_source", row.source],
  ] as const) {
    if (key?.kind !== "value" || !key.value) {
      return null;
    }
    filters[name] = key.value;
  }
  return filters;
}

function columnsOf(
  data: Breakdown,
  values: UsageSearch,
  nameOf: NameOf,
  tenant: string,
): readonly Column<ModelRow>[] {
  const most = Math.max(1, ...data.rows.map((row) => row.figures.spend_micro_usd ?? 0));
  const colors = assignColors(data.rows.flatMap((row) => row.keys[1]?.value ?? []));
  return [
    {
      id: "model",
      header: "Model",
      rowHeader: true,
      cell: (row) => {
        const name = row.model ? nameOf(row.model) : "";
        const filters = filtersOf(row);
        const search = filters === null ? null : requestsSearch(values, data, filters);
        return (
          <>
            {search === null ? (
              name
            ) : (
              <RouteLink to={tenantPath(tenant, `requests${search}`)} inherit>
                {name}
              </RouteLink>
            )}{" "}
            <Text span size="xs" c="dimmed">
              {row.provider ? nameOf(row.provider) : ""}
            </Text>
          </>
        );
      },
    },
    {
      id: "source",
      header: "Billed to",
      cell: (row) => (
        <Badge variant="outline" color="gray" c="inherit" tt="none" fw={600} miw="max-content">
          {row.source ? nameOf(row.source) : ""}
        </Badge>
      ),
    },
    {
      id: "requests",
      header: "Requests",
      numeric: true,
      sortable: true,
      cell: (row) => formatCount(row.figures.requests),
    },
    {
      id: "tokens",
      header: "Tokens",
      numeric: true,
      sortable: true,
      cell: (row) => (
        <span title={formatCount(row.figures.total_tokens)}>{formatCompact(row.figures.total_tokens)}</span>
      ),
    },
    {
      id: "spend",
      header: "Spend",
      numeric: true,
      sortable: true,
      cell: (row) => (
        <BarCell
          share={(row.figures.spend_micro_usd ?? 0) / most}
          color={colors.get(row.provider?.value ?? "") ?? REST_COLOR}
        >
          {spendText(row.figures)}
        </BarCell>
      ),
    },
    {
      id: "errors",
      header: "Errors",
      numeric: true,
      sortable: true,
      cell: (row) => rateText(errorRate(row.figures)),
    },
    {
      id: "p95",
      header: "P95",
      numeric: true,
      sortable: true,
      cell: (row) => (row.figures.latency ? formatDuration(row.figures.latency.p95_ms) : "–"),
    },
  ];
}

function Rows({ data, search, nameOf }: Omit<ModelTableProps, "query"> & { data: Breakdown }) {
  const tenant = useTenant();
  const { values } = search;
  const rows = sortRows(modelRows(data), values.sort);
  return (
    <>
      <DataTable
        caption="Cost and reliability by model"
        columns={columnsOf(data, values, nameOf, tenant)}
        rows={rows}
        rowKey={(row) => row.id}
        sorting={{ id: values.sort.replace("-", ""), descending: values.sort.startsWith("-") }}
        onSort={({ id, descending }) =>
          search.change({ sort: `${descending ? "-" : ""}${id}` as UsageSearch["sort"] })
        }
        empty={<EmptyState title="No usage in this time" />}
      />
      <Text size="sm" c="dimmed">
        {data.rest && data.rest_count
          ? `${formatCount(data.rest_count)} more rows with ${spendText(data.rest)} are in the CSV. `
          : ""}
        {`In total: ${formatCount(data.total.requests)} requests, ${formatCount(data.total.total_tokens)} tokens, ${spendText(data.total)}.`}
      </Text>
    </>
  );
}
