import type { ReactNode } from "react";
import { formatCompact } from "@/format/numbers";
import { tenantPath } from "@/navigation";
import { Badge, Checkbox, type Column, DataTable, Group, RouteLink, Stack, StatusMark, Text } from "@/ui";
import type { PageSearch } from "@/url/search";
import { type CATALOG_SEARCH, MOST_COMPARED, type Model, perMillion, providersOf, SORTS } from "./catalog";

interface ModelTableProps {
  tenant: string;
  search: PageSearch<typeof CATALOG_SEARCH>;
  models: readonly Model[];
  empty: ReactNode;
}

/** The models with what they can do and cost. */
export function ModelTable({ tenant, search, models, empty }: ModelTableProps) {
  const { values, change } = search;
  const compare = (id: string, chosen: boolean) =>
    change({
      compare: chosen
        ? [...values.compare, id].slice(-MOST_COMPARED)
        : values.compare.filter((each) => each !== id),
    });
  const columns: readonly Column<Model>[] = [
    {
      id: "compare",
      header: "Compare",
      cell: (model) => (
        <Checkbox
          aria-label={`Compare ${model.id}`}
          checked={values.compare.includes(model.id)}
          disabled={!values.compare.includes(model.id) && values.compare.length >= MOST_COMPARED}
          onChange={(event) => compare(model.id, event.currentTarget.checked)}
        />
      ),
    },
    { id: "name", header: "Model", rowHeader: true, sortable: true, cell: (model) => <Name model={model} /> },
    { id: "available", header: "Available", cell: (model) => <Availability tenant={tenant} model={model} /> },
    {
      id: "providers",
      header: "Providers",
      cell: (model) => <Text size="sm">{providersOf(model).join(", ")}</Text>,
    },
    {
      id: "input",
      header: "Input",
      numeric: true,
      sortable: true,
      cell: (model) => perMillion(model.prices?.input_usd) ?? "unknown",
    },
    {
      id: "output",
      header: "Output",
      numeric: true,
      sortable: true,
      cell: (model) => perMillion(model.prices?.output_usd) ?? (model.prices ? "none" : "unknown"),
    },
    {
      id: "context",
      header: "Context",
      numeric: true,
      sortable: true,
      cell: (model) => (model.context_tokens ? formatCompact(model.context_tokens) : "unknown"),
    },
    { id: "capabilities", header: "Can", cell: (model) => <Capabilities model={model} /> },
  ];
  return (
    <DataTable
      caption="Models"
      columns={columns}
      rows={models}
      rowKey={(model) => `${model.provider} ${model.id}`}
      sorting={{ id: values.sort, descending: values.order === "down" }}
      onSort={({ id }) => {
        const sort = SORTS.find((each) => each === id) ?? "name";
        change({ sort, order: values.sort === sort && values.order === "up" ? "down" : "up" });
      }}
      empty={empty}
    />
  );
}

function Name({ model }: { model: Model }) {
  return (
    <Stack gap={0}>
      <Text size="sm" fw={500}>
        {model.title ?? model.id}
      </Text>
      <Text size="xs" c="dimmed" ff="monospace">
        {model.id}
      </Text>
      {model.description ? (
        <Text size="xs" c="dimmed" maw={360}>
          {model.description}
        </Text>
      ) : null}
    </Stack>
  );
}

const SOURCES: Record<Model["key_source"], string> = {
  byok: "with your key",
  platform: "with platform credits",
  custom: "on your own server",
  none: "no key needed",
};

function Availability({ tenant, model }: { tenant: string; model: Model }) {
  if (model.available === false) {
    return (
      <Stack gap={0}>
        <StatusMark kind="neutral">Not yet</StatusMark>
        <RouteLink to={`${tenantPath(tenant, "keys")}?add=${encodeURIComponent(model.provider)}`} fz="xs">
          Add a key for {model.provider}
        </RouteLink>
      </Stack>
    );
  }
  const sources = model.key_sources && model.key_sources.length > 0 ? model.key_sources : [model.key_source];
  return (
    <Stack gap={0}>
      <StatusMark kind="ok">Available</StatusMark>
      <Text size="xs" c="dimmed">
        {sources.map((source) => SOURCES[source]).join(", ")}
        {model.approved === false ? "; not approved" : ""}
      </Text>
    </Stack>
  );
}

function Capabilities({ model }: { model: Model }) {
  return (
    <Group gap={4}>
      {model.eu ? (
        <Badge variant="outline" tt="none" color="cyan.9" c="inherit">
          EU
        </Badge>
      ) : null}
      {(model.capabilities ?? []).map((capability) => (
        <Badge key={capability} variant="outline" tt="none" color="gray.7" c="inherit">
          {capability.replaceAll("_", " ")}
        </Badge>
      ))}
    </Group>
  );
}
