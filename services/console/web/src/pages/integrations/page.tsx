import { IntegrationsView } from "@/components/integrations/integrations-view";
import { useAccess } from "@/session/access";
import { EmptyState, Page, Panel } from "@/ui";

/** What the gateway signs in with for the tenant: at Slack, and at providers for their usage reports. */
export default function IntegrationsPage() {
  const access = useAccess("list_integrations");
  return access.allowed ? (
    <IntegrationsView
      owner="tenant"
      description="Secrets with which the gateway works for you elsewhere: webhooks of Slack, and admin keys for usage reports."
    />
  ) : (
    <Page title="Integrations">
      <Panel title="Secrets">
        <EmptyState title="Your role does not see integrations">{access.reason}</EmptyState>
      </Panel>
    </Page>
  );
}
