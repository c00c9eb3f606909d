import { Page } from "@/ui";

export default function OpsTenantsPage() {
  return <Page title="Tenants">{null}</Page>;
}
