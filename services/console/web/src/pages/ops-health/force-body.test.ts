import { describe, expect, it } from "vitest";
import type { HealthGroup } from "@/components/health-groups";
import { EMPTY_FORM, forceBody, type Override, overridesOf } from "./force-body";

const STATE = { condition: "healthy", since: null, reason: "" } as const;
const OPENAI: HealthGroup = {
  key: "provider openai",
  provider: "openai",
  endpoint: null,
  tenant: null,
  host: null,
  name: "openai",
  targets: [],
  state: STATE,
};
const BOX: HealthGroup = {
  ...OPENAI,
  key: "server",
  provider: "custom",
  endpoint: "box",
  tenant: "acme",
  name: "box",
};

describe("forceBody", () => {
  it("needs a reason", () => {
    expect(forceBody(OPENAI, { ...EMPTY_FORM, reason: "  " })).toBeNull();
  });

  it("names a provider, a model, or a tenant's server", () => {
    expect(
      forceBody(OPENAI, { state: "open", model: "gpt-4o", seconds: "3600", reason: " wrong answers " }),
    ).toEqual({
      provider: "openai",
      endpoint: null,
      tenant: null,
      model: "gpt-4o",
      state: "open",
      for_seconds: 3600,
      reason: "wrong answers",
    });
    expect(forceBody(BOX, { ...EMPTY_FORM, reason: "maintenance" })).toMatchObject({
      provider: "custom",
      endpoint: "box",
      tenant: "acme",
      model: null,
    });
  });
});

describe("overridesOf", () => {
  it("keeps servers of different tenants apart", () => {
    const common = { state: "open", reason: "r", actor: "a", since: "", until: "" } as const;
    const all: Override[] = [
      { ...common, provider: "openai", model: "gpt-4o" },
      { ...common, provider: "custom", endpoint: "box", tenant: "acme" },
      { ...common, provider: "custom", endpoint: "box", tenant: "globex" },
    ];
    expect(overridesOf(all, OPENAI)).toEqual([all[0]]);
    expect(overridesOf(all, BOX)).toEqual([all[1]]);
  });
});
