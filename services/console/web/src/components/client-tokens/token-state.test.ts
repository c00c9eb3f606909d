import { expect, test } from "vitest";
import { type ClientToken, effectiveLimits, scopeOf, stateOf } from "./token-state";

const NOW = new Date("2026-11-30T12:00:00Z");

function token(changes: Partial<ClientToken> = {}): ClientToken {
  return {
    token_id: "tok_1",
    tenant: "acme",
    label: "app",
    last4: "wXyZ",
    created_at: "2026-11-01T00:00:00Z",
    ...changes,
  };
}

test("what ended stays ended, whatever else holds", () => {
  expect(stateOf(token(), NOW)).toBe("active");
  expect(stateOf(token({ disabled_at: "2026-11-02T00:00:00Z" }), NOW)).toBe("disabled");
  expect(stateOf(token({ expires_at: "2026-11-30T12:00:00Z" }), NOW)).toBe("expired");
  expect(stateOf(token({ expires_at: "2026-11-30T12:00:01Z" }), NOW)).toBe("active");
  const revoked = { revoked_at: "2026-11-03T00:00:00Z", disabled_at: "2026-11-02T00:00:00Z" };
  expect(stateOf(token(revoked), NOW)).toBe("revoked");
});

test("the tightest limit wins, and a token's own never widens the plan's", () => {
  const plan = { rpm: 100, tpm: 1000, concurrency: "unlimited" as const };
  expect(effectiveLimits({ rpm: 20, tpm: 5000 }, plan)).toEqual([
    { name: "Requests per minute", value: "20", source: "token" },
    { name: "Tokens per minute", value: "1,000", source: "plan" },
    { name: "At the same time", value: "none", source: "none" },
  ]);
});

test("a scope lists only what limits", () => {
  expect(scopeOf(token())).toEqual([]);
  expect(scopeOf(token({ allowed_models: ["gpt-4o"], allowed_apis: ["chat"] }))).toEqual([
    "models: gpt-4o",
    "APIs: chat",
  ]);
});
