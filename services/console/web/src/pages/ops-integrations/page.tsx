import { IntegrationsView } from "@/components/integrations/integrations-view";

/** What the installation signs in with: at Stripe, Lago and the mail server. */
export default function OpsIntegrationsPage() {
  return (
    <IntegrationsView
      owner="platform"
      description="What the installation itself signs in with: Stripe, Lago, the mail server, and chats for operators."
    />
  );
}
