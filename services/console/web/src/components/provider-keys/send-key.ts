/** How a key leaves the page: sealed where the browser can, else as text over the connection of the page. */

import { api, type Schemas } from "@/api/client";
import type { SealedFor } from "./seal";

/** The part of a request's body that is the key. */
export type KeyPart = { sealed: string } | { key: string };

/** Return a key as it is sent. Raises ApiError while the intake key cannot be had. */
export async function keyPart(
  key: string,
  to: Omit<SealedFor, "origin"> & { origin: string | null },
): Promise<KeyPart> {
  const { canSeal, sealKey } = await import("./seal");
  const { origin } = to;
  const intake = await loadIntakeKey();
  if (intake === null || origin === null || !canSeal(intake)) {
    return { key };
  }
  try {
    return { sealed: await sealKey(intake, { ...to, origin }, key) };
  } catch {
    // A browser without X25519: the console seals the key, as for every client that does not.
    return { key };
  }
}

/** Return the vault's public key, of which only this page's origin can speak; null if there was no answer. */
export async function loadIntakeKey(): Promise<Schemas["IntakeKey"] | null> {
  return (await api.GET("/api/v1/provider-keys/intake-key")).data ?? null;
}
