/** Who is signed in, for which tenant the page is, and what follows from it. */

import { type QueryClient, QueryClientProvider, useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useLayoutEffect, useMemo } from "react";
import { query, type Schemas, setRequestScope } from "@/api/client";
import { revokePageToken } from "@/api/page-token";
import { newQueryClient } from "@/api/query-client";

export type Sender = Schemas["SenderView"];
export type Role = Schemas["AccessRole"];

export interface PageSession {
  readonly sender: Sender;
  /** The tenant of the page; null on pages about the installation. */
  readonly tenant: string | null;
  /** The sender's role there; `operator` for somebody who acts for a tenant without being a member of it. */
  readonly role: Role | null;
  readonly asOperator: boolean;
}

const SessionContext = createContext<PageSession | null>(null);

/** The cache above those of the tenants, which holds who is signed in. */
const SessionCacheContext = createContext<QueryClient | null>(null);

/** Return the session of the page. Raises Error outside of it. */
export function useSession(): PageSession {
  const session = useContext(SessionContext);
  if (session === null) {
    throw new Error("useSession is called outside of SessionProvider");
  }
  return session;
}

/** Return the tenant of the page. Raises Error on pages that have none. */
export function useTenant(): string {
  const { tenant } = useSession();
  if (tenant === null) {
    throw new Error("useTenant is called on a page without a tenant");
  }
  return tenant;
}

/** Return the query for who is signed in. */
export function useSenderQuery() {
  return query.useQuery("get", "/api/v1/session", {}, { staleTime: 60_000, retry: false });
}

/** Return a function that asks again who is signed in, for example after signing in in another tab. */
export function useRefreshSender(): () => Promise<void> {
  const own = useQueryClient();
  const client = useContext(SessionCacheContext) ?? own;
  const { queryKey } = query.queryOptions("get", "/api/v1/session", {});
  return () => client.refetchQueries({ queryKey });
}

/** What can name a tenant: an address may have anything else in its place. */
const TENANT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Return the role of a sender for a tenant, and whether it acts there as an operator. */
export function roleFor(sender: Sender, tenant: string | null): Pick<PageSession, "role" | "asOperator"> {
  const membership = sender.memberships.find((member) => member.tenant === tenant);
  if (membership) {
    return { role: membership.role, asOperator: false };
  }
  return sender.operator && (tenant === null || TENANT.test(tenant))
    ? { role: "operator", asOperator: true }
    : { role: null, asOperator: false };
}

interface SessionProviderProps {
  sender: Sender;
  tenant: string | null;
  children: ReactNode;
}

/** Provide the session to a page, and name its tenant in every request. The data of each tenant have a cache of their own. */
export function SessionProvider({ sender, tenant, children }: SessionProviderProps) {
  const session = useMemo(() => ({ sender, tenant, ...roleFor(sender, tenant) }), [sender, tenant]);
  // Queries of the page are sent in passive effects, which run after layout effects.
  useLayoutEffect(() => {
    setRequestScope({ tenant, asOperator: session.asOperator, csrfToken: sender.csrf_token ?? null });
  }, [tenant, session.asOperator, sender.csrf_token]);
  useEffect(() => () => void revokePageToken(), []);
  const cache = useMemo(() => newQueryClient(tenant), [tenant]);
  const sessionCache = useQueryClient();
  return (
    <SessionContext value={session}>
      <SessionCacheContext value={sessionCache}>
        <QueryClientProvider client={cache}>{children}</QueryClientProvider>
      </SessionCacheContext>
    </SessionContext>
  );
}
