import { describe, expect, it } from "vitest";
import { conditionOf, type TargetHealth, targetsOf } from "./provider-health";

function target(
  model: string,
  changes: Partial<TargetHealth> = {},
  more: Partial<TargetHealth["target"]> = {},
): TargetHealth {
  return {
    target: { provider: "openai", model, key_class: "platform", ...more },
    state: "closed",
    reason: "",
    changed_at: "2026-11-30T12:00:00Z",
    samples: 10,
    failures: 0,
    success_percent: 100,
    ...changes,
  };
}

describe("conditionOf", () => {
  it("is unused without targets, and where only keys are known", () => {
    expect(conditionOf([]).condition).toBe("unused");
    expect(conditionOf([target("m", { state: "cooling" }, { key_id: "key_1" })]).condition).toBe("unused");
  });

  it("is healthy while attempts succeed", () => {
    expect(conditionOf([target("a"), target("b", { samples: 0 })])).toEqual({
      condition: "healthy",
      since: null,
      reason: "",
    });
  });

  it("is degraded if one of two models is withheld, since the first of them", () => {
    const open = target("a", {
      state: "open",
      reason: "all 5 attempts within 10 s failed",
      changed_at: "2026-11-30T12:05:00Z",
      samples: 5,
      failures: 5,
      success_percent: 0,
    });
    expect(conditionOf([open, target("b")])).toEqual({
      condition: "degraded",
      since: "2026-11-30T12:05:00Z",
      reason: "all 5 attempts within 10 s failed",
    });
  });

  it("is down if nothing shows that any model answers", () => {
    const open = target("a", { state: "open", samples: 5, failures: 5, success_percent: 0 });
    const silent = target("b", { samples: 0, failures: 0, success_percent: null });
    expect(conditionOf([open, silent]).condition).toBe("down");
    expect(conditionOf([open, { ...silent, reachable: true }]).condition).toBe("degraded");
  });

  it("is degraded if many attempts fail while the circuit is closed, not for a single failure", () => {
    const failing = target("a", { samples: 20, failures: 4, success_percent: 80 });
    expect(conditionOf([failing])).toMatchObject({
      condition: "degraded",
      reason: "4 of 20 attempts failed within five minutes",
    });
    expect(conditionOf([target("a", { samples: 2, failures: 1, success_percent: 50 })]).condition).toBe(
      "healthy",
    );
  });
});

describe("targetsOf", () => {
  it("keeps a provider and an endpoint apart", () => {
    const own = target("m", {}, { provider: "custom", endpoint: "my-server" });
    const all = [target("m"), own];
    expect(targetsOf(all, "openai")).toEqual([all[0]]);
    expect(targetsOf(all, "custom", "my-server")).toEqual([own]);
    expect(targetsOf(all, "custom")).toEqual([]);
  });
});
