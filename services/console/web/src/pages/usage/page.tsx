import { Page } from "@/ui";

export default function UsagePage() {
  return <Page title="Usage">{null}</Page>;
}
