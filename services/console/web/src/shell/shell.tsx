import { useLocation } from "@tanstack/react-router";
import { type ReactNode, useEffect } from "react";
import { operatorPath } from "@/navigation";
import { useSession } from "@/session/session";
import { AppShell, RouteLink, useDisclosure } from "@/ui";
import { Header } from "./header";
import { Navigation } from "./navigation-links";
import { Shortcuts } from "./shortcuts";
import "./shell.css";

/** Header, navigation and the place of the page. */
export function Shell({ children }: { children: ReactNode }) {
  const { tenant, asOperator } = useSession();
  const [opened, { toggle, close }] = useDisclosure(false);
  const { pathname } = useLocation();
  // biome-ignore lint/correctness/useExhaustiveDependencies: the drawer closes when another page is opened
  useEffect(close, [pathname, close]);
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: { sm: 68, md: 232 }, breakpoint: "sm", collapsed: { mobile: !opened } }}
      padding="md"
    >
      <a className="skip-link" href="#page">
        Skip to the page
      </a>
      <AppShell.Header px="md">
        <Header menuOpened={opened} onMenu={toggle} />
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        <Navigation />
      </AppShell.Navbar>
      <AppShell.Main id="page" tabIndex={-1}>
        {asOperator && tenant !== null ? (
          <div className="operator-bar" role="note">
            Acting on {tenant} as operator. Everything you read and change is recorded.{" "}
            <RouteLink to={operatorPath("tenants")} c="inherit" underline="always">
              Leave
            </RouteLink>
          </div>
        ) : null}
        {children}
      </AppShell.Main>
      <Shortcuts />
    </AppShell>
  );
}
