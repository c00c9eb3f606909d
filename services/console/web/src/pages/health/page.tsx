import { Page } from "@/ui";

export default function HealthPage() {
  return <Page title="Provider health">{null}</Page>;
}
