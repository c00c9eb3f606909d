import { Page } from "@/ui";

export default function PowerLevelPage() {
  return <Page title="Power level">{null}</Page>;
}
