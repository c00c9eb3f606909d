import { Page } from "@/ui";

export default function HomePage() {
  return <Page title="Home">{null}</Page>;
}
