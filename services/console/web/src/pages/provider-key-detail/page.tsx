import { Page } from "@/ui";

export default function ProviderKeyDetailPage() {
  return <Page title="Provider key">{null}</Page>;
}
