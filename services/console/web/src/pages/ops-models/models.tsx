import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { BY_PAGES } from "@/api/pages";
import {
  Button,
  type Column,
  DataTable,
  EmptyState,
  Group,
  LoadMore,
  notify,
  Panel,
  QueryState,
  StatusMark,
  Text,
  TextInput,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { EditModel } from "./edit-model";
import { RetireModel } from "./retire-model";

type Model = Schemas["CatalogState"];
const PAGE_SIZE = 500;

interface ModelsPanelProps {
  filter: string;
  onFilter: (filter: string) => void;
}

/** The models of the catalog. */
export function ModelsPanel({ filter, onFilter }: ModelsPanelProps) {
  const cache = useQueryClient();
  const [editing, setEditing] = useState<Model | "new" | null>(null);
  const [retiring, setRetiring] = useState<Model | null>(null);
  const models = query.useInfiniteQuery(
    "get",
    "/api/v1/ops/models",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const outcome = {
    onError: (error: unknown) => notify(`Nothing was changed: ${asApiError(error).message}`, "error"),
    onSuccess: () => void cache.invalidateQueries(),
  };
  const restoration = query.useMutation("post", "/api/v1/ops/models/restore", outcome);
  const columns: readonly Column<Model>[] = [
    {
      id: "model",
      header: "Model",
      rowHeader: true,
      cell: ({ model }) => (
        <>
          {model.title}{" "}
          <Text span size="xs" c="dimmed" ff="monospace">
            {model.id}
          </Text>
        </>
      ),
    },
    { id: "tier", header: "From tier", cell: ({ model }) => model.tier },
    {
      id: "offerings",
      header: "Providers",
      cell: ({ model }) => (
        <Text size="sm">{[...new Set(model.offerings.map((offering) => offering.provider))].join(", ")}</Text>
      ),
    },
    { id: "state", header: "State", cell: (state) => <State state={state} /> },
    {
      id: "actions",
      header: "Actions",
      cell: (state) => (
        <Group gap="xs" wrap="nowrap">
          <Button
            variant="default"
            size="xs"
            aria-label={`Edit ${state.model.id}`}
            onClick={() => setEditing(state)}
          >
            Edit
          </Button>
          {state.retirement || state.changed ? (
            <Button
              variant="default"
              size="xs"
              aria-label={`Restore ${state.model.id}`}
              onClick={() => restoration.mutate({ body: { id: state.model.id } })}
            >
              Restore
            </Button>
          ) : null}
          {state.retirement ? null : (
            <Button
              variant="default"
              size="xs"
              aria-label={`Retire ${state.model.id}`}
              onClick={() => setRetiring(state)}
            >
              Retire
            </Button>
          )}
        </Group>
      ),
    },
  ];
  return (
    <Panel
      title="Catalog"
      actions={
        <Button leftSection={<PlusIcon size={16} aria-hidden />} onClick={() => setEditing("new")}>
          Add model
        </Button>
      }
    >
      <TextInput
        type="search"
        label="Search"
        placeholder="Name, id or provider"
        value={filter}
        onChange={(event) => onFilter(event.currentTarget.value)}
        maw={360}
      />
      <QueryState what="the catalog" query={models} height={480}>
        {(data) => {
          const all = data.pages.flatMap((page) => page.data);
          const rows = all.filter((state) => matches(state, filter));
          return (
            <>
              <DataTable
                caption="Models of the catalog"
                columns={columns}
                rows={rows}
                rowKey={(state) => state.model.id}
                empty={<EmptyState title="No model matches" />}
              />
              <LoadMore
                shown={rows.length}
                noun="models"
                more={models.hasNextPage}
                busy={models.isFetchingNextPage}
                onMore={() => void models.fetchNextPage()}
              />
            </>
          );
        }}
      </QueryState>
      {editing ? (
        <EditModel state={editing === "new" ? null : editing} onClose={() => setEditing(null)} />
      ) : null}
      {retiring ? <RetireModel state={retiring} onClose={() => setRetiring(null)} /> : null}
    </Panel>
  );
}

function matches({ model }: Model, filter: string): boolean {
  const text = `${model.id} ${model.title} ${model.maker} ${model.offerings.map((each) => each.provider).join(" ")}`;
  return text.toLowerCase().includes(filter.trim().toLowerCase());
}

function State({ state }: { state: Model }) {
  if (state.problem) {
    return (
      <>
        <StatusMark kind="error">Not usable</StatusMark>
        <Text size="xs">{state.problem}</Text>
      </>
    );
  }
  if (state.retirement) {
    return (
      <>
        <StatusMark kind="warning">Retired</StatusMark>
        {state.retirement.replacement ? (
          <Text size="xs" c="dimmed">
            {state.retirement.serve_replacement ? "answered by" : "replaced by"}{" "}
            {state.retirement.replacement}
          </Text>
        ) : null}
      </>
    );
  }
  return (
    <StatusMark kind="ok">
      {state.changed ? "Changed here" : state.bundled ? "As released" : "Added here"}
    </StatusMark>
  );
}
