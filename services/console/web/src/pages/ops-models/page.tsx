import { Page, Tabs } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, text, usePageSearch } from "@/url/search";
import { ModelsPanel } from "./models";
import { PricesPanel } from "./prices";

const TABS = ["models", "prices"] as const;
export const OPS_MODELS_SEARCH = { tab: oneOf(TABS, "models"), q: text() };

/** The catalog of models, and the prices that this installation has set itself. */
export default function OpsModelsPage() {
  const search = usePageSearch(OPS_MODELS_SEARCH);
  return (
    <Page
      title="Models and prices"
      description="What all tenants can call, and what it costs. Changes count at once; earlier requests keep their prices."
    >
      <DroppedNotice dropped={search.dropped} />
      <Tabs
        value={search.values.tab}
        onChange={(value) => search.change({ tab: TABS.find((tab) => tab === value) ?? "models" })}
        keepMounted={false}
      >
        <Tabs.List aria-label="Models and prices">
          <Tabs.Tab value="models">Models</Tabs.Tab>
          <Tabs.Tab value="prices">Prices of this installation</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="models" pt="md">
          <ModelsPanel filter={search.values.q} onFilter={(q) => search.change({ q })} />
        </Tabs.Panel>
        <Tabs.Panel value="prices" pt="md">
          <PricesPanel />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
