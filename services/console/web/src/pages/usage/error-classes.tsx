import type { Schemas } from "@/api/client";
import { formatCount, formatShare } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { type Column, DataTable, Panel, QueryState, RouteLink, StatusMark } from "@/ui";
import { BarCell, STATUS_FILLS } from "@/ui/charts";
import type { NameOf } from "./prepare";
import { requestsSearch, type UsageSearch } from "./search";
import type { CalmQuery } from "./use-usage";

type Breakdown = Schemas["UsageBreakdown"];
type Row = Schemas["BreakdownRow"];

interface ErrorClassesProps {
  query: CalmQuery<Breakdown>;
  values: UsageSearch;
  nameOf: NameOf;
}

/** What failed, by class, each linked to the requests in which it happened. */
export function ErrorClasses({ query, values, nameOf }: ErrorClassesProps) {
  return (
    <Panel title="Failures">
      <QueryState what="the failures" query={query} height={150}>
        {(data) => <ClassTable data={data} values={values} nameOf={nameOf} />}
      </QueryState>
    </Panel>
  );
}

function ClassTable({ data, values, nameOf }: Omit<ErrorClassesProps, "query"> & { data: Breakdown }) {
  const tenant = useTenant();
  const rows = data.rows.filter((row) => row.keys[0]?.kind === "value");
  const most = Math.max(1, ...rows.map((row) => row.figures.failed));
  const columns: readonly Column<Row>[] = [
    {
      id: "class",
      header: "Failure",
      rowHeader: true,
      cell: ({ keys: [key] }) => {
        if (!key) {
          return "";
        }
        const search = requestsSearch(values, data, { error_class: key.value ?? "" });
        return search === null ? (
          nameOf(key)
        ) : (
          <RouteLink to={tenantPath(tenant, `requests${search}`)} inherit>
            {nameOf(key)}
          </RouteLink>
        );
      },
    },
    {
      id: "attempts",
      header: "Attempts",
      numeric: true,
      cell: ({ figures }) => (
        <BarCell share={figures.failed / most} color={STATUS_FILLS.error}>
          {formatCount(figures.failed)}
        </BarCell>
      ),
    },
    {
      id: "share",
      header: "Of all",
      numeric: true,
      cell: ({ figures }) =>
        data.total.attempts === 0 ? "–" : formatShare(figures.failed / data.total.attempts, 2),
    },
  ];
  return (
    <DataTable
      caption="Failed attempts by class"
      columns={columns}
      rows={rows}
      rowKey={(row) => row.keys[0]?.value ?? ""}
      empty={<StatusMark kind="ok">No attempt has failed in this time.</StatusMark>}
    />
  );
}
