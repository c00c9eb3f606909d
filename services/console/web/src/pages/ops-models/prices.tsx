import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { BY_PAGES } from "@/api/pages";
import { Button, type Column, ConfirmDialog, EmptyState, PagedTable, Panel, Text, Time } from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { priceWords } from "./price";
import { SetPrice } from "./set-price";

type Price = Schemas["PriceEntry"];
const PAGE_SIZE = 100;

/** The prices that operators have set; all others are those of this version. */
export function PricesPanel() {
  const cache = useQueryClient();
  const [setting, setSetting] = useState(false);
  const [removing, setRemoving] = useState<Price | null>(null);
  const prices = query.useInfiniteQuery(
    "get",
    "/api/v1/ops/prices",
    { params: { query: { limit: PAGE_SIZE } } },
    BY_PAGES,
  );
  const removal = query.useMutation("post", "/api/v1/ops/prices/remove", {
    onSuccess: () => {
      setRemoving(null);
      void cache.invalidateQueries();
    },
  });
  const columns: readonly Column<Price>[] = [
    { id: "model", header: "Model", rowHeader: true, cell: ({ provider, model }) => `${provider}/${model}` },
    { id: "price", header: "Dollars per million tokens", cell: (price) => priceWords(price) },
    { id: "effective", header: "From", cell: ({ effective }) => <Time iso={effective} /> },
    { id: "by", header: "Set by", cell: ({ changed_by: by }) => <Text size="sm">{by}</Text> },
    {
      id: "actions",
      header: "Actions",
      cell: (price) => (
        <Button
          variant="default"
          size="xs"
          aria-label={`Remove the price of ${price.provider}/${price.model}`}
          onClick={() => setRemoving(price)}
        >
          Remove
        </Button>
      ),
    },
  ];
  return (
    <Panel
      title="Prices of this installation"
      actions={
        <Button leftSection={<PlusIcon size={16} aria-hidden />} onClick={() => setSetting(true)}>
          Set price
        </Button>
      }
    >
      <PagedTable
        what="the prices"
        caption="Prices of this installation"
        noun="prices"
        height={320}
        query={prices}
        columns={columns}
        rowKey={(price) => `${price.provider} ${price.model} ${price.effective}`}
        empty={
          <EmptyState title="No prices of your own">
            All models have the list prices of this version. Set one where you pay another price.
          </EmptyState>
        }
      />
      {setting ? <SetPrice onClose={() => setSetting(false)} /> : null}
      <ConfirmDialog
        opened={removing !== null}
        title={`Remove the price of ${removing?.provider ?? ""}/${removing?.model ?? ""}?`}
        verb="Remove price"
        busy={removal.isPending}
        error={removal.error}
        onClose={() => setRemoving(null)}
        onConfirm={() => {
          if (removing) {
            const { provider, model, effective } = removing;
            removal.mutate({ body: { provider, model, effective } });
          }
        }}
      >
        <Text size="sm">
          Requests from now on have the price before it. What has been recorded stays as it is, until it is
          rated again.
        </Text>
      </ConfirmDialog>
    </Panel>
  );
}
