import { useBillingZone, useTenantView } from "@/components/use-tenant-view";
import { useRefetchOn } from "@/live/live";
import { Page, QueryState, Tabs } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, optionOf, text, usePageSearch } from "@/url/search";
import { BudgetsPanel } from "./budgets-panel";
import { CreditsTab } from "./credits-tab";
import { PurchaseNotice } from "./purchase-notice";

const SEARCH = {
  tab: oneOf(["credits", "budgets"], "credits"),
  // Stripe's page sends the browser back with these two.
  purchase: text(/^(pur_[a-z0-9]{1,60})?$/),
  result: optionOf(["paid", "cancelled"]),
};
const TOPICS = ["credits", "requests"] as const;
const PATHS = ["/api/v1/credits", "/api/v1/budgets", "/api/v1/allowance"] as const;
const REFRESH_MS = 2000;

/** How much is left, how long does it last, what moved, and what may be spent. */
export default function CreditsPage() {
  useRefetchOn(TOPICS, PATHS, REFRESH_MS);
  const search = usePageSearch(SEARCH);
  const tenant = useTenantView();
  const zone = useBillingZone();
  return (
    <Page
      title="Credits and budgets"
      description="Credits pay for requests on the platform's keys: 1,000 credits are one US dollar. Budgets limit what is spent, on whosever keys."
    >
      <DroppedNotice dropped={search.dropped} />
      {search.values.purchase ? (
        <PurchaseNotice
          purchase={search.values.purchase}
          cancelled={search.values.result === "cancelled"}
          onClose={() => search.change({ purchase: "", result: null }, "replace")}
        />
      ) : null}
      <Tabs
        value={search.values.tab}
        onChange={(tab) => search.change({ tab: tab === "budgets" ? "budgets" : "credits" }, "push")}
        keepMounted={false}
      >
        <Tabs.List mb="md">
          <Tabs.Tab value="credits">Credits</Tabs.Tab>
          <Tabs.Tab value="budgets">Budgets</Tabs.Tab>
        </Tabs.List>
        <QueryState what="the billing zone" query={{ ...tenant, isFetching: tenant.isPending }} height={600}>
          {() => (
            <>
              <Tabs.Panel value="credits">{zone ? <CreditsTab zone={zone} /> : null}</Tabs.Panel>
              <Tabs.Panel value="budgets">{zone ? <BudgetsPanel zone={zone} /> : null}</Tabs.Panel>
            </>
          )}
        </QueryState>
      </Tabs>
    </Page>
  );
}
