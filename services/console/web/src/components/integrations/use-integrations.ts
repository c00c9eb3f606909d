/** The integration secrets of a page's owner, and what can be done with them. */

import { useQueryClient } from "@tanstack/react-query";
import { api, query } from "@/api/client";
import { useSession } from "@/session/session";
import type { IntegrationKind, IntegrationSecret, Owner } from "./kinds";
import { secretPart } from "./send-secret";

const OWN = "/api/v1/integrations";
const PLATFORM = "/api/v1/ops/integrations";

/** Return the query for the secrets of an owner. */
export function useIntegrations(owner: Owner) {
  return query.useQuery("get", owner === "platform" ? PLATFORM : OWN);
}

/** Return the changes of an owner's secrets; each refreshes the list, and raises ApiError. */
export function useIntegrationActions(owner: Owner) {
  const cache = useQueryClient();
  const { tenant: own } = useSession();
  const tenant = owner === "platform" ? "platform" : (own ?? "");
  const refresh = () => cache.invalidateQueries({ queryKey: ["get", owner === "platform" ? PLATFORM : OWN] });
  return {
    async add(kind: IntegrationKind, name: string, secret: string) {
      const body = { kind, name, ...(await secretPart(secret, { tenant, kind })) };
      await (owner === "platform" ? api.POST(PLATFORM, { body }) : api.POST(OWN, { body }));
      await refresh();
    },
    async rotate(stored: IntegrationSecret, secret: string, overlapSeconds: number) {
      const params = { path: { secret_id: stored.secret_id } };
      const carried = await secretPart(secret, { tenant, kind: stored.kind });
      const body = { overlap_seconds: overlapSeconds, ...carried };
      await (owner === "platform"
        ? api.POST(`${PLATFORM}/{secret_id}/rotate`, { params, body })
        : api.POST(`${OWN}/{secret_id}/rotate`, { params, body }));
      await refresh();
    },
    async remove(stored: IntegrationSecret) {
      const params = { path: { secret_id: stored.secret_id } };
      await (owner === "platform"
        ? api.DELETE(`${PLATFORM}/{secret_id}`, { params })
        : api.DELETE(`${OWN}/{secret_id}`, { params }));
      await refresh();
    },
  };
}
