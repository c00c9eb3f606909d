import { expect, test } from "vitest";
import { type IntegrationSecret, isManagedElsewhere, KINDS, kindsToAdd } from "./kinds";

const STORED: IntegrationSecret = {
  secret_id: "isec_1",
  tenant: "platform",
  kind: "stripe_api_key",
  name: "main",
  masked: "sk_test_…A9f2",
  fingerprint: "0000000000000000",
  version: 1,
  created_at: "2026-11-30T00:00:00Z",
  created_by: "operator",
};

test("a tenant adds no secret that only the installation has", () => {
  expect(kindsToAdd("tenant", [])).toEqual([
    "slack_webhook_url",
    "openai_admin_key",
    "anthropic_admin_key",
    "openrouter_management_key",
  ]);
});

test("what there may be once is not offered again", () => {
  expect(kindsToAdd("platform", [])).toContain("stripe_api_key");
  expect(kindsToAdd("platform", [STORED])).not.toContain("stripe_api_key");
  expect(kindsToAdd("platform", [{ ...STORED, kind: "slack_webhook_url" }])).toContain("slack_webhook_url");
});

test("signing secrets of webhooks are changed with the webhook", () => {
  expect(isManagedElsewhere("webhook_secret")).toBe(true);
  expect(Object.keys(KINDS)).toHaveLength(9);
});
