/**
 * A client token for requests that this page itself sends to the API for apps, as the playground does.
 *
 * It is held in memory only, counts for this page's origin, and ends after an hour; when the person signs out or goes to another
 * tenant it is revoked. Requests with it pass every limit and budget that an app's requests pass.
 */

import { api, currentScope, pathPart, type RequestScope, type Schemas, sendRaw } from "@/api/client";

const LIFETIME_MS = 60 * 60 * 1000;
/** A new token is made some time before the old one ends, so that no request is refused half-way. */
const MARGIN_MS = 5 * 60 * 1000;
const REVOKE_MS = 3000;

interface HeldToken {
  /** The tenant and the session for which it was made. */
  readonly scope: RequestScope;
  readonly endsAt: number;
  readonly created: Promise<Schemas["CreatedClientToken"]>;
}

let held: HeldToken | null = null;

async function create(endsAt: number): Promise<Schemas["CreatedClientToken"]> {
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
  return data;
}

/** Return a client token for this page: one for all requests of a tenant in a session. Raises ApiError. */
export async function pageToken(now: number = Date.now()): Promise<string> {
  const scope = currentScope();
  const same =
    held !== null && held.scope.tenant === scope.tenant && held.scope.csrfToken === scope.csrfToken;
  if (held !== null && !same) {
    void revokePageToken();
  }
  if (held === null || held.endsAt - MARGIN_MS <= now) {
    const endsAt = now + LIFETIME_MS;
    const own: HeldToken = { scope, endsAt, created: create(endsAt) };
    held = own;
    own.created.catch(() => {
      held = held === own ? null : held;
    });
  }
  return (await held.created).token;
}

/** Forget the token and revoke it, if there is one. Where that fails, it ends by itself. */
export async function revokePageToken(): Promise<void> {
  const given = held;
  held = null;
  try {
    if (given !== null) {
      const path = `/api/v1/client-tokens/${pathPart((await given.created).token_id)}`;
      const init = { keepalive: true, signal: AbortSignal.timeout(REVOKE_MS) };
      await sendRaw("DELETE", path, init, given.scope);
    }
  } catch {
    // It ends within the hour.
  }
}
