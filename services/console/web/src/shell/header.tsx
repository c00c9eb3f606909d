import { useNavigate } from "@tanstack/react-router";
import { sendRaw } from "@/api/client";
import { revokePageToken } from "@/api/page-token";
import { operatorPath, tenantPath } from "@/navigation";
import { useSession } from "@/session/session";
import { useTimeZoneChoice } from "@/session/time-zone";
import {
  ActionIcon,
  Burger,
  Button,
  Group,
  Kbd,
  Menu,
  notify,
  RouteLink,
  Select,
  Text,
  useComputedColorScheme,
  useMantineColorScheme,
} from "@/ui";
import { DarkIcon, LightIcon, SearchIcon, SignOutIcon } from "@/ui/icons";
import { LivePill } from "./live-pill";
import { openPalette } from "./palette-state";

const INSTALLATION = "installation";

interface HeaderProps {
  menuOpened: boolean;
  onMenu: () => void;
}

/** The bar above every page: tenant, live events, search, colours, account. */
export function Header({ menuOpened, onMenu }: HeaderProps) {
  return (
    <Group h="100%" justify="space-between" wrap="nowrap" gap="xs">
      <Group gap="sm" wrap="nowrap">
        <Burger
          opened={menuOpened}
          onClick={onMenu}
          hiddenFrom="sm"
          size="sm"
          aria-label="Navigation"
          aria-expanded={menuOpened}
        />
        <RouteLink to="/" c="inherit" underline="never" aria-label="Keyferry, start page">
          <Group gap="xs" wrap="nowrap">
            <img src="/favicon.svg" width={24} height={24} alt="" />
            <Text span fw={700} visibleFrom="sm">
              Keyferry
            </Text>
          </Group>
        </RouteLink>
        <TenantChoice />
        <LivePill />
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Button
          variant="default"
          c="dimmed"
          fw={400}
          leftSection={<SearchIcon size={16} aria-hidden />}
          rightSection={<Kbd size="xs">Ctrl K</Kbd>}
          onClick={openPalette}
          visibleFrom="sm"
        >
          Search or jump to…
        </Button>
        <ActionIcon
          variant="default"
          size="lg"
          onClick={openPalette}
          hiddenFrom="sm"
          aria-label="Search or jump to"
        >
          <SearchIcon size={18} aria-hidden />
        </ActionIcon>
        <ColorScheme />
        <Account />
      </Group>
    </Group>
  );
}

function TenantChoice() {
  const { sender, tenant, asOperator } = useSession();
  const navigate = useNavigate();
  const own = sender.memberships.map((member) => ({ value: member.tenant, label: member.tenant }));
  const acting = asOperator && tenant !== null ? [{ value: tenant, label: tenant }] : [];
  const whole = sender.operator ? [{ value: INSTALLATION, label: "Whole installation" }] : [];
  const data = [...own, ...acting, ...whole];
  return (
    <Select
      aria-label="Tenant"
      data={data}
      value={tenant ?? INSTALLATION}
      allowDeselect={false}
      checkIconPosition="right"
      w={{ base: 130, sm: 170 }}
      onChange={(value) => {
        if (value !== null) {
          void navigate({ href: value === INSTALLATION ? operatorPath("tenants") : tenantPath(value) });
        }
      }}
    />
  );
}

function ColorScheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <ActionIcon
      variant="default"
      size="lg"
      aria-label={dark ? "Light colours" : "Dark colours"}
      onClick={() => setColorScheme(dark ? "light" : "dark")}
    >
      {dark ? <LightIcon size={18} aria-hidden /> : <DarkIcon size={18} aria-hidden />}
    </ActionIcon>
  );
}

function Account() {
  const { sender, role } = useSession();
  const zone = useTimeZoneChoice();
  const name = sender.name ?? sender.email ?? sender.actor;
  const signOut = async () => {
    try {
      await revokePageToken();
      const response = await sendRaw("POST", "/auth/logout", {
        headers: { "x-csrf-token": sender.csrf_token ?? "" },
      });
      const body: { logout_url?: string | null } = await response.json();
      window.location.assign(body.logout_url ?? "/sign-in");
    } catch {
      notify("Could not sign out: the console does not answer.", "error");
    }
  };
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Account of ${name}`}>
          <Text span size="sm" fw={600} aria-hidden>
            {name.slice(0, 1).toUpperCase()}
          </Text>
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>
          {name}
          {role ? ` · ${role}` : ""}
        </Menu.Label>
        <Menu.Item onClick={() => zone.choose(zone.choice === "utc" ? "local" : "utc")}>
          {zone.choice === "utc" ? "Show times in my zone" : "Show times in UTC"}
        </Menu.Item>
        <Menu.Item leftSection={<SignOutIcon size={16} aria-hidden />} onClick={() => void signOut()}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
