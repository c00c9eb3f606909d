import { Page } from "@/ui";

export default function PlaygroundPage() {
  return <Page title="Playground">{null}</Page>;
}
