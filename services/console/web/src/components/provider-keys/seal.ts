/**
 * Sealing of a provider key or an integration secret to the vault's intake key, in the browser: HPKE (RFC 9180), as `keyferry.sealing.intake` does it.
 *
 * Then neither a proxy in front of the console nor the console itself sees the key. Browsers offer the cryptography only to
 * pages that came over HTTPS or from this machine; elsewhere the console seals the key as soon as it has it.
 */

import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";

const SUITE = "x25519-hkdf-sha256-aes-256-gcm";
const CONTEXT = "keyferry/intake/v1";
const INTEGRATION_CONTEXT = "keyferry/integration-intake/v1";
const PREFIX = "kf_sealed_";
const LENGTH_BYTES = 4;

export interface IntakeKey {
  readonly suite: string;
  /** base64url without padding. */
  readonly public_key: string;
}

/** For whom a key is sealed: the vault opens it for nothing else. */
export interface SealedFor {
  readonly tenant: string;
  readonly provider: string;
  /** The origin of the address at which the key is used. */
  readonly origin: string;
}

/** Return whether keys can be sealed here to this intake key. */
export function canSeal(intake: IntakeKey): boolean {
  return intake.suite === SUITE && globalThis.crypto?.subtle !== undefined;
}

/** Seal a key for one tenant, provider and origin. */
export async function sealKey(intake: IntakeKey, to: SealedFor, key: string): Promise<string> {
  return seal(intake, frame(CONTEXT, intake.suite, to.tenant, to.provider, to.origin), key);
}

/** Seal an integration secret for one owner and kind. */
export async function sealIntegrationSecret(
  intake: IntakeKey,
  to: { readonly tenant: string; readonly kind: string },
  secret: string,
): Promise<string> {
  return seal(intake, frame(INTEGRATION_CONTEXT, intake.suite, to.tenant, to.kind), secret);
}

async function seal(intake: IntakeKey, info: Uint8Array<ArrayBuffer>, text: string): Promise<string> {
  const suite = new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
  });
  const recipientPublicKey = await suite.kem.deserializePublicKey(fromBase64(intake.public_key));
  const { enc, ct } = await suite.seal({ recipientPublicKey, info }, new TextEncoder().encode(text));
  return PREFIX + toBase64(concat([new Uint8Array(enc), new Uint8Array(ct)]));
}

/** Return the parts as bytes, each with its length before it: two lists of parts never give the same bytes. */
export function frame(...parts: readonly string[]): Uint8Array<ArrayBuffer> {
  const encoded = parts.flatMap((part) => {
    const bytes = new TextEncoder().encode(part);
    const length = new Uint8Array(LENGTH_BYTES);
    new DataView(length.buffer).setUint32(0, bytes.length);
    return [length, bytes];
  });
  return concat(encoded);
}

/** Encode as base64url without padding. */
export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");
}

/** Decode base64url without padding. Raises DOMException for other text. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
