import { Page } from "@/ui";

export default function AuditPage() {
  return <Page title="Audit log">{null}</Page>;
}
