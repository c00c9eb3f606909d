import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { expect, test } from "vitest";
import { canSeal, frame, fromBase64, sealIntegrationSecret, sealKey, toBase64 } from "./seal";

// Made with keyferry.sealing.intake.seal_key; the private key is the bytes 0 to 31.
const PRIVATE_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const INTAKE = {
  suite: "x25519-hkdf-sha256-aes-256-gcm",
  public_key: "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8",
};
const SEALED_BY_PYTHON =
  "kf_sealed_6CiAR93CUOqHRxSOfc3hoq6FvDBsVuhE4PdJvKPGAFnpi-uBsjcfImOTZalhgoygbUJPNSEu5SSzleO3IQg";
const FOR = { tenant: "initech", provider: "openai", origin: "https://api.openai.com" };

const INTEGRATION_SEALED_BY_PYTHON =
  "kf_sealed_EaX6FhMWUokSpJBbuZ-3anV9wJ8rusLtCqLlvxzjdB76psIJFiGENMZaq4D_Uzn4jznZd34gktUwAgNnKVohjM0";
const SLACK = { tenant: "initech", kind: "slack_webhook_url" };

async function open(sealed: string, to = FOR): Promise<string> {
  return openWith(sealed, frame("keyferry/intake/v1", INTAKE.suite, to.tenant, to.provider, to.origin));
}

async function openIntegration(sealed: string, to = SLACK): Promise<string> {
  return openWith(sealed, frame("keyferry/integration-intake/v1", INTAKE.suite, to.tenant, to.kind));
}

async function openWith(sealed: string, info: Uint8Array<ArrayBuffer>): Promise<string> {
  const suite = new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
  });
  const raw = fromBase64(sealed.slice("kf_sealed_".length));
  const recipientKey = await suite.kem.importKey("raw", fromBase64(PRIVATE_KEY).buffer, false);
  return new TextDecoder().decode(
    await suite.open({ recipientKey, info, enc: raw.slice(0, 32) }, raw.slice(32)),
  );
}

test("what the command line seals opens with the same frame", async () => {
  expect(await open(SEALED_BY_PYTHON)).toBe("not-a-real-key");
});

test("a sealed key opens for its tenant, provider and origin only", async () => {
  const sealed = await sealKey(INTAKE, FOR, "another-key");
  expect(sealed.startsWith("kf_sealed_")).toBe(true);
  expect(sealed).not.toContain("another-key");
  expect(await open(sealed)).toBe("another-key");
  await expect(open(sealed, { ...FOR, tenant: "globex" })).rejects.toThrow();
  await expect(open(sealed, { ...FOR, origin: "https://api.example.com" })).rejects.toThrow();
});

test("an integration secret opens for its owner and kind only", async () => {
  expect(await openIntegration(INTEGRATION_SEALED_BY_PYTHON)).toBe("not-a-real-secret");
  const sealed = await sealIntegrationSecret(INTAKE, SLACK, "another-secret");
  expect(await openIntegration(sealed)).toBe("another-secret");
  await expect(openIntegration(sealed, { ...SLACK, tenant: "globex" })).rejects.toThrow();
  await expect(openIntegration(sealed, { ...SLACK, kind: "smtp_password" })).rejects.toThrow();
  await expect(open(sealed)).rejects.toThrow();
});

test("two seals of the same key differ", async () => {
  expect(await sealKey(INTAKE, FOR, "k")).not.toBe(await sealKey(INTAKE, FOR, "k"));
});

test("base64url is canonical and has no padding", () => {
  const bytes = Uint8Array.from([251, 255, 254, 1]);
  expect(toBase64(bytes)).toBe("-__-AQ");
  expect(fromBase64("-__-AQ")).toEqual(bytes);
});

test("an unknown suite is left to the console", () => {
  expect(canSeal({ ...INTAKE, suite: "x-wing" })).toBe(false);
  expect(canSeal(INTAKE)).toBe(true);
});
