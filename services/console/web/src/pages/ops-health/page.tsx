import { Page } from "@/ui";

export default function OpsHealthPage() {
  return <Page title="Provider health">{null}</Page>;
}
