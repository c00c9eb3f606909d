import { Page } from "@/ui";

export default function RoutingPage() {
  return <Page title="Models and routing">{null}</Page>;
}
