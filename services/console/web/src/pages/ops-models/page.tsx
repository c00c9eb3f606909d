import { Page } from "@/ui";

export default function OpsModelsPage() {
  return <Page title="Models and prices">{null}</Page>;
}
