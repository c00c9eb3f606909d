import { query } from "@/api/client";
import { countOf } from "@/format/numbers";
import { useTenant } from "@/session/session";
import { Button, EmptyState, Page, Panel, QueryState, Stack } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { usePageSearch } from "@/url/search";
import { CATALOG_SEARCH, selectModels } from "./catalog";
import { CompareModels } from "./compare";
import { CatalogFilterBar } from "./filter-bar";
import { ModelTable } from "./model-table";

/** Which model fits, and whether it can be used now. */
export default function CatalogPage() {
  const tenant = useTenant();
  const search = usePageSearch(CATALOG_SEARCH);
  const { values } = search;
  const models = query.useQuery("get", "/api/v1/models", {
    params: { query: { limit: 1000, available: "all", approved: "all" } },
  });
  return (
    <Page
      title="Model catalog"
      description="Prices are the provider's list prices for a million tokens. A row says why a model cannot be called yet."
    >
      <DroppedNotice dropped={search.dropped} />
      <QueryState what="the models" query={models} height={600}>
        {(data) => {
          const shown = selectModels(data.data, values);
          const compared = data.data.filter((model) => values.compare.includes(model.id));
          return (
            <Stack>
              {compared.length > 1 ? (
                <CompareModels models={compared} onClose={() => search.change({ compare: [] })} />
              ) : null}
              <Panel title={countOf(shown.length, "model")}>
                <CatalogFilterBar search={search} models={data.data} />
                <ModelTable
                  tenant={tenant}
                  search={search}
                  models={shown}
                  empty={
                    <EmptyState
                      title="No model matches"
                      action={
                        <Button
                          variant="default"
                          onClick={() =>
                            search.change({ q: "", capability: null, provider: "", eu: false, mine: false })
                          }
                        >
                          Clear the filters
                        </Button>
                      }
                    />
                  }
                />
              </Panel>
            </Stack>
          );
        }}
      </QueryState>
    </Page>
  );
}
