/** How a secret leaves the page: sealed where the browser can, else as text over the connection of the page. */

import { loadIntakeKey } from "@/components/provider-keys/send-key";
import type { IntegrationKind } from "./kinds";

/** The part of a request's body that is the secret. */
export type SecretPart = { sealed: string } | { secret: string };

/** Return a secret as it is sent. */
export async function secretPart(
  secret: string,
  to: { tenant: string; kind: IntegrationKind },
): Promise<SecretPart> {
  const { canSeal, sealIntegrationSecret } = await import("@/components/provider-keys/seal");
  try {
    const intake = await loadIntakeKey();
    return intake !== null && canSeal(intake)
      ? { sealed: await sealIntegrationSecret(intake, to, secret) }
      : { secret };
  } catch {
    // A browser without X25519, or no intake key: the console seals the secret, or says what is wrong.
    return { secret };
  }
}
