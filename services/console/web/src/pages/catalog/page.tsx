import { Page } from "@/ui";

export default function CatalogPage() {
  return <Page title="Model catalog">{null}</Page>;
}
