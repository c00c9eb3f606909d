import { Page } from "@/ui";

export default function MembersPage() {
  return <Page title="Members and teams">{null}</Page>;
}
