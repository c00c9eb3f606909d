/**
 * A client token for requests that this page itself sends to the API for apps, as the playground does.
 *
 * It is held in memory only, counts for this page's origin, and ends after an hour. Requests with it pass every limit and
 * budget that an app's requests pass.
 */

import { api, type Schemas } from "@/api/client";

const LIFETIME_MS = 60 * 60 * 1000;
/** A new token is made some time before the old one ends, so that no request is refused half-way. */
const MARGIN_MS = 5 * 60 * 1000;

interface PageToken {
  readonly tenant: string;
  readonly token: string;
  readonly endsAt: number;
}

let current: Promise<PageToken> | null = null;

async function create(tenant: string, now: number): Promise<PageToken> {
  const endsAt = now + LIFETIME_MS;
  const body: Schemas["CreateTokenBody"] = {
    label: "Playground of the console",
    expires_at: new Date(endsAt).toISOString(),
    allowed_origins: [window.location.origin],
    allowed_apis: ["chat"],
  };
  const { data } = await api.POST("/api/v1/client-tokens", { body });
  if (!data) {
    throw new Error("the management API returned no client token");
  }
  return { tenant, token: data.token, endsAt };
}

/** Return a client token of a tenant for this page, a new one if there is none. Raises ApiError. */
export async function pageToken(tenant: string, now: number = Date.now()): Promise<string> {
  const held = await current?.catch(() => null);
  if (held && held.tenant === tenant && held.endsAt - MARGIN_MS > now) {
    return held.token;
  }
  current = create(tenant, now);
  try {
    return (await current).token;
  } catch (error) {
    current = null;
    throw error;
  }
}
