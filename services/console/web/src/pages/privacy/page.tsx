import { Page } from "@/ui";

export default function PrivacyPage() {
  return <Page title="Privacy and region">{null}</Page>;
}
