import { useRefetchOn } from "@/live/live";
import { Page, SimpleGrid, Stack } from "@/ui";
import { NoParameters } from "@/url/no-parameters";
import { ContentPanel } from "./content-panel";
import { DeletionPanel } from "./deletion-panel";
import { RegionPanel } from "./region-panel";
import { ExportPanel, ReportsPanel } from "./reports-panel";

const TOPICS = ["rules"] as const;
const PATHS = ["/api/v1/preferences", "/api/v1/routing/rules"] as const;

/** What is stored, and where data go. */
export default function PrivacyPage() {
  useRefetchOn(TOPICS, PATHS);
  return (
    <Page
      title="Privacy and region"
      description="What is stored of your requests, and where they are processed."
    >
      <NoParameters />
      <SimpleGrid cols={{ base: 1, md: 2 }}>
        <RegionPanel />
        <ContentPanel />
      </SimpleGrid>
      <Stack gap="md">
        <ReportsPanel />
        <SimpleGrid cols={{ base: 1, md: 2 }}>
          <ExportPanel />
          <DeletionPanel />
        </SimpleGrid>
      </Stack>
    </Page>
  );
}
