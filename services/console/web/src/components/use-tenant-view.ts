/** The settings of the tenant of the page, such as its billing zone. */

import { query } from "@/api/client";

/** Return the query of the tenant of the page. */
export function useTenantView() {
  return query.useQuery("get", "/api/v1/tenant", {}, { staleTime: 60_000 });
}

/** Return the zone in which the tenant's days are counted; undefined until it is known. */
export function useBillingZone(): string | undefined {
  return useTenantView().data?.time_zone;
}
