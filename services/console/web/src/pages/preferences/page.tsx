import { Page } from "@/ui";

export default function PreferencesPage() {
  return <Page title="Preferences">{null}</Page>;
}
