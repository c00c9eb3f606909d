import { useRefetchOn } from "@/live/live";
import { Page, Tabs } from "@/ui";
import { DroppedNotice } from "@/url/dropped-notice";
import { oneOf, usePageSearch } from "@/url/search";
import { InvitationsPanel } from "./invitations";
import { MembersPanel } from "./members";
import { SessionsPanel } from "./sessions";
import { TeamsPanel } from "./teams";

const SEARCH = { tab: oneOf(["members", "invitations", "teams", "sessions"], "members") };
const TOPICS = ["members"] as const;
const PATHS = ["/api/v1/members", "/api/v1/invitations", "/api/v1/teams"];

/** Who may do what here. */
export default function MembersPage() {
  const search = usePageSearch(SEARCH);
  useRefetchOn(TOPICS, PATHS);
  return (
    <Page title="Members and teams" description="Who may see and change what in this tenant.">
      <DroppedNotice dropped={search.dropped} />
      <Tabs
        value={search.values.tab}
        onChange={(tab) => search.change({ tab: SEARCH.tab.parse([tab ?? ""]) ?? "members" })}
        keepMounted={false}
      >
        <Tabs.List aria-label="Members, invitations, teams and sessions">
          <Tabs.Tab value="members">Members</Tabs.Tab>
          <Tabs.Tab value="invitations">Invitations</Tabs.Tab>
          <Tabs.Tab value="teams">Teams</Tabs.Tab>
          <Tabs.Tab value="sessions">Your sessions</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="members" pt="md">
          <MembersPanel />
        </Tabs.Panel>
        <Tabs.Panel value="invitations" pt="md">
          <InvitationsPanel />
        </Tabs.Panel>
        <Tabs.Panel value="teams" pt="md">
          <TeamsPanel />
        </Tabs.Panel>
        <Tabs.Panel value="sessions" pt="md">
          <SessionsPanel />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}
