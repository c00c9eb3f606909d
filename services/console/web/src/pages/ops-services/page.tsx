import { query, type Schemas } from "@/api/client";
import { countOf } from "@/format/numbers";
import { Button, type Column, DataTable, EmptyState, Page, Panel, QueryState, StatusMark, Text } from "@/ui";
import { RefreshIcon } from "@/ui/icons";
import { NoParameters } from "@/url/no-parameters";
import { factWords, serviceState, summarize } from "./state";

type Report = Schemas["ServiceReport"];

const COLUMNS: readonly Column<Report>[] = [
  {
    id: "service",
    header: "Service",
    rowHeader: true,
    cell: (report) => (
      <>
        {report.service.replaceAll("_", " ")}{" "}
        <Text span size="xs" c="dimmed">
          {report.slot}
        </Text>
      </>
    ),
  },
  {
    id: "state",
    header: "State",
    cell: (report) => {
      const { kind, words, details } = serviceState(report);
      return (
        <>
          <StatusMark kind={kind}>{words}</StatusMark>
          {details.map((detail) => (
            <Text key={detail} size="xs">
              {detail}
            </Text>
          ))}
        </>
      );
    },
  },
  { id: "version", header: "Version", cell: (report) => report.version },
  { id: "pid", header: "Process", numeric: true, cell: (report) => report.pid },
  {
    id: "facts",
    header: "Figures",
    cell: (report) => (
      <Text size="sm" c="dimmed">
        {factWords(report.facts)}
      </Text>
    ),
  },
];

/** Every process of the installation that answers on the bus. */
export default function OpsServicesPage() {
  const services = query.useQuery("get", "/api/v1/ops/services", {}, { staleTime: 0 });
  return (
    <Page
      title="Services"
      description={
        services.data
          ? summarize(services.data.data)
          : "Every process that answers on the bus, what it waits for, and a few figures."
      }
      actions={
        <Button
          variant="default"
          leftSection={<RefreshIcon size={16} aria-hidden />}
          loading={services.isFetching}
          onClick={() => void services.refetch()}
        >
          Ask again
        </Button>
      }
    >
      <NoParameters />
      <Panel title={services.data ? countOf(services.data.data.length, "process", "processes") : "Processes"}>
        <QueryState what="the services" query={services} height={400}>
          {(data) => (
            <DataTable
              caption="Services"
              columns={COLUMNS}
              rows={data.data}
              rowKey={(report) => report.instance_id}
              empty={
                <EmptyState title="No service answers">
                  Run keyferry doctor on the machine of the installation to find the cause.
                </EmptyState>
              }
            />
          )}
        </QueryState>
      </Panel>
    </Page>
  );
}
