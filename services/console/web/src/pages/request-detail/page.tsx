import { Page } from "@/ui";

export default function RequestDetailPage() {
  return <Page title="Request">{null}</Page>;
}
