/** The addresses of the console. Each page is a file of its own that is loaded when it is opened. */

import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  type RouteComponent,
} from "@tanstack/react-router";
import { OperatorLayout, TenantLayout } from "@/shell/layouts";
import { NotFound } from "@/shell/not-found";
import { PageCrash } from "@/shell/page-crash";
import { Start } from "@/shell/start";
import { parseSearch } from "@/url/parse-search";

const root = createRootRoute({ component: Outlet, notFoundComponent: NotFound, errorComponent: PageCrash });
const tenant = createRoute({ getParentRoute: () => root, path: "/t/$tenant", component: TenantLayout });
const operator = createRoute({ getParentRoute: () => root, path: "/ops", component: OperatorLayout });

type LoadPage = () => Promise<{ default: RouteComponent }>;

/** The pages of a tenant by the path below `/t/{tenant}/`. */
const TENANT_PAGES: Record<string, LoadPage> = {
  "/": () => import("@/pages/home/page"),
  usage: () => import("@/pages/usage/page"),
  requests: () => import("@/pages/requests/page"),
  "requests/$requestId": () => import("@/pages/request-detail/page"),
  "traces/$trace": () => import("@/pages/trace/page"),
  health: () => import("@/pages/health/page"),
  keys: () => import("@/pages/provider-keys/page"),
  "keys/$keyId": () => import("@/pages/provider-key-detail/page"),
  routing: () => import("@/pages/routing/page"),
  "power-level": () => import("@/pages/power-level/page"),
  recommendations: () => import("@/pages/recommendations/page"),
  tokens: () => import("@/pages/client-tokens/page"),
  integrations: () => import("@/pages/integrations/page"),
  credits: () => import("@/pages/credits/page"),
  invoices: () => import("@/pages/invoices/page"),
  alerts: () => import("@/pages/alerts/page"),
  reconciliation: () => import("@/pages/reconciliation/page"),
  members: () => import("@/pages/members/page"),
  preferences: () => import("@/pages/preferences/page"),
  privacy: () => import("@/pages/privacy/page"),
  audit: () => import("@/pages/audit/page"),
  "quick-start": () => import("@/pages/quick-start/page"),
  catalog: () => import("@/pages/catalog/page"),
  playground: () => import("@/pages/playground/page"),
};

/** The pages about the installation by the path below `/ops/`. */
const OPERATOR_PAGES: Record<string, LoadPage> = {
  tenants: () => import("@/pages/ops-tenants/page"),
  health: () => import("@/pages/ops-health/page"),
  providers: () => import("@/pages/ops-providers/page"),
  models: () => import("@/pages/ops-models/page"),
  integrations: () => import("@/pages/ops-integrations/page"),
  "dead-letters": () => import("@/pages/ops-dead-letters/page"),
  objectives: () => import("@/pages/ops-objectives/page"),
  services: () => import("@/pages/ops-services/page"),
};

const tree = root.addChildren([
  createRoute({ getParentRoute: () => root, path: "/", component: Start }),
  createRoute({
    getParentRoute: () => root,
    path: "/sign-in",
    component: lazyRouteComponent(() => import("@/pages/sign-in/page")),
  }),
  createRoute({
    getParentRoute: () => root,
    path: "/signed-in",
    component: lazyRouteComponent(() => import("@/pages/signed-in/page")),
  }),
  tenant.addChildren(
    Object.entries(TENANT_PAGES).map(([path, load]) =>
      createRoute({ getParentRoute: () => tenant, path, component: lazyRouteComponent(load) }),
    ),
  ),
  operator.addChildren(
    Object.entries(OPERATOR_PAGES).map(([path, load]) =>
      createRoute({ getParentRoute: () => operator, path, component: lazyRouteComponent(load) }),
    ),
  ),
]);

/** The search of an address is text: pages read and check it with `usePageSearch`. */
export const router = createRouter({
  routeTree: tree,
  defaultPreload: "intent",
  defaultErrorComponent: PageCrash,
  defaultNotFoundComponent: NotFound,
  parseSearch,
  stringifySearch: (search) => {
    const text = new URLSearchParams();
    for (const [name, value] of Object.entries(search)) {
      for (const each of Array.isArray(value) ? value : [value]) {
        text.append(name, String(each));
      }
    }
    return text.size === 0 ? "" : `?${text}`;
  },
});
