import { Page } from "@/ui";

export default function ClientTokensPage() {
  return <Page title="Client tokens">{null}</Page>;
}
