import { Page } from "@/ui";

export default function CreditsPage() {
  return <Page title="Credits and budgets">{null}</Page>;
}
