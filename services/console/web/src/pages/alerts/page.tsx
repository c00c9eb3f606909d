import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { EmptyState, Page, Panel, RouteLink } from "@/ui";
import { NoParameters } from "@/url/no-parameters";

/** What this version watches by itself; rules for alerts of one's own are not there yet. */
export default function AlertsPage() {
  const tenant = useTenant();
  return (
    <Page title="Alerts" description="Rules that warn you by e-mail or webhook are not part of this version.">
      <NoParameters />
      <Panel title="What you can watch today">
        <EmptyState title="No rules yet">
          Home lists what needs attention now. A{" "}
          <RouteLink to={tenantPath(tenant, "credits")}>budget</RouteLink> stops requests at an amount that
          you choose, <RouteLink to={tenantPath(tenant, "keys")}>provider keys</RouteLink> show which are
          about to fail, and <RouteLink to={tenantPath(tenant, "health")}>provider health</RouteLink> keeps
          the outages.
        </EmptyState>
      </Panel>
    </Page>
  );
}
