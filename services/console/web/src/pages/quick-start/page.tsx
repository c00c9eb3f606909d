import { Page } from "@/ui";

export default function QuickStartPage() {
  return <Page title="Quick start">{null}</Page>;
}
