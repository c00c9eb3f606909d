import { Page } from "@/ui";

export default function OpsServicesPage() {
  return <Page title="Services">{null}</Page>;
}
