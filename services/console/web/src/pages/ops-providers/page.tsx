import { Page } from "@/ui";

export default function OpsProvidersPage() {
  return <Page title="Providers">{null}</Page>;
}
