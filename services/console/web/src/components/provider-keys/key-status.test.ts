import { expect, test } from "vitest";
import { keyState, type ProviderKey } from "./key-status";

const NOW = new Date("2026-11-30T12:00:00Z");

function key(changes: Partial<ProviderKey> = {}): ProviderKey {
  return {
    key_id: "key_1",
    tenant: "acme",
    provider: "openai",
    label: "main",
    masked: "sk-…A9f2",
    fingerprint: "f",
    origin: "https://api.openai.com",
    base_url: "https://api.openai.com/v1",
    status: "valid",
    version: 1,
    created_at: "2026-11-01T00:00:00Z",
    created_by: "console:operator",
    ...changes,
  } as ProviderKey;
}

function tested(step: "accepted" | "credit", detail: string): ProviderKey["last_test"] {
  return {
    result: "degraded",
    duration_ms: 1,
    tested_at: "2026-11-30T11:00:00Z",
    steps: [{ step, passed: false, detail }],
  } as ProviderKey["last_test"];
}

test("a valid key needs nothing", () => {
  expect(keyState(key(), NOW)).toEqual({ kind: "ok", word: "Valid", reason: "", fix: "" });
});

test("every other status has a reason and a fix", () => {
  const keys = [
    key({ status: "invalid", last_test: tested("accepted", "the provider does not accept the key") }),
    key({ status: "expired" }),
    key({ status: "undecryptable" }),
    key({ status: "disabled" }),
    key({ status: "untested" }),
    key({ paused: true }),
    key({ over_limit: true }),
    key({ status: "degraded", last_test: tested("credit", "no credit") }),
    key({ credit_low: true }),
    key({ expires_at: "2026-12-05T00:00:00Z" }),
    key({ rotation_due: true }),
  ];
  for (const each of keys) {
    const state = keyState(each, NOW);
    expect(state.reason, state.word).not.toBe("");
    expect(state.fix, state.word).not.toBe("");
  }
});

test("the reason of a broken key is what its test says", () => {
  const state = keyState(
    key({ status: "degraded", last_test: tested("credit", "the account has no credit") }),
    NOW,
  );
  expect(state).toMatchObject({ word: "No credit", reason: "The account has no credit" });
});

test("a disabled key is disabled, whatever else holds", () => {
  expect(keyState(key({ status: "disabled", over_limit: true, credit_low: true }), NOW).word).toBe(
    "Disabled",
  );
});

test("an expiry far ahead is no warning", () => {
  expect(keyState(key({ expires_at: "2027-06-01T00:00:00Z" }), NOW).word).toBe("Valid");
});
