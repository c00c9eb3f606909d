import { Page } from "@/ui";

export default function ProviderKeysPage() {
  return <Page title="Provider keys">{null}</Page>;
}
