import { Page } from "@/ui";

export default function OpsDeadLettersPage() {
  return <Page title="Dead letters">{null}</Page>;
}
