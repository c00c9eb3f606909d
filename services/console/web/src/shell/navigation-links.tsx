import { useLocation } from "@tanstack/react-router";
import { OPERATOR_GROUP, operatorPath, type PageEntry, TENANT_GROUPS, tenantPath } from "@/navigation";
import { useSession } from "@/session/session";
import { RouteLink, ScrollArea, Stack, Text, Tooltip, useMediaQuery } from "@/ui";
import {
  AlertsIcon,
  AuditIcon,
  CatalogIcon,
  ClientTokensIcon,
  CreditsIcon,
  HealthIcon,
  HomeIcon,
  IntegrationsIcon,
  InvoicesIcon,
  MembersIcon,
  ModelsIcon,
  ObjectivesIcon,
  PlaygroundIcon,
  PowerLevelIcon,
  PrivacyIcon,
  ProviderKeysIcon,
  QuickStartIcon,
  RecommendationsIcon,
  ReconciliationIcon,
  RequestsIcon,
  RoutingIcon,
  ServicesIcon,
  SettingsIcon,
  UsageIcon,
} from "@/ui/icons";

const ICONS: Record<string, typeof HomeIcon> = {
  home: HomeIcon,
  usage: UsageIcon,
  requests: RequestsIcon,
  health: HealthIcon,
  keys: ProviderKeysIcon,
  routing: RoutingIcon,
  powerLevel: PowerLevelIcon,
  recommendations: RecommendationsIcon,
  reconciliation: ReconciliationIcon,
  tokens: ClientTokensIcon,
  integrations: IntegrationsIcon,
  credits: CreditsIcon,
  invoices: InvoicesIcon,
  alerts: AlertsIcon,
  members: MembersIcon,
  preferences: SettingsIcon,
  privacy: PrivacyIcon,
  audit: AuditIcon,
  quickStart: QuickStartIcon,
  catalog: CatalogIcon,
  playground: PlaygroundIcon,
  objectives: ObjectivesIcon,
  services: ServicesIcon,
};

/** The links to all pages, in groups. */
export function Navigation() {
  const { tenant, sender } = useSession();
  return (
    <ScrollArea flex={1}>
      <Stack gap="sm">
        {tenant === null
          ? null
          : TENANT_GROUPS.map((group) => (
              <Group
                key={group.label}
                label={group.label}
                pages={group.pages}
                path={(page) => tenantPath(tenant, page)}
              />
            ))}
        {sender.operator ? (
          <Group label={OPERATOR_GROUP.label} pages={OPERATOR_GROUP.pages} path={operatorPath} />
        ) : null}
      </Stack>
    </ScrollArea>
  );
}

interface GroupProps {
  label: string;
  pages: readonly PageEntry[];
  path: (page: string) => string;
}

function Group({ label, pages, path }: GroupProps) {
  const { pathname } = useLocation();
  const rail = useMediaQuery("(min-width: 48em) and (max-width: 63.99em)", false);
  return (
    <Stack gap={2} role="group" aria-label={label}>
      <Text size="xs" fw={600} c="dimmed" px="sm" className="nav-label" aria-hidden>
        {label}
      </Text>
      {pages.map((page) => {
        const to = path(page.path);
        const current = page.path === "" ? pathname === to : pathname === to || pathname.startsWith(`${to}/`);
        const Icon = ICONS[page.icon] ?? ModelsIcon;
        return (
          <Tooltip key={page.path} label={page.name} position="right" disabled={!rail}>
            <div>
              <RouteLink
                to={to}
                className="nav-link"
                aria-current={current ? "page" : undefined}
                underline="never"
              >
                <Icon size={18} aria-hidden />
                <span className="nav-label">{page.name}</span>
              </RouteLink>
            </div>
          </Tooltip>
        );
      })}
    </Stack>
  );
}
