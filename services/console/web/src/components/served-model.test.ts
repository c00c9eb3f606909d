import { describe, expect, it } from "vitest";
import type { LoggedAttempt, LoggedRequest } from "./request-words";
import { servedModel } from "./served-model";

function request(asked: string, attempts: Partial<LoggedAttempt>[]): LoggedRequest {
  return {
    request_id: "req_1",
    decision_id: "dec_1",
    started_at: "2026-11-30T12:00:00Z",
    kind: "chat",
    stream: false,
    outcome: "completed",
    model_asked: asked,
    attempts: attempts.map((attempt, index) => ({
      attempt_id: `att_${index}`,
      attempt_number: index + 1,
      decision_id: "dec_1",
      provider: "openai",
      model: "gpt-4o",
      outcome: "completed",
      key_source: "byok",
      latency_ms: 1,
      pricing: "priced",
      usage_source: "reported",
      started_at: "2026-11-30T12:00:00Z",
      recorded_at: "2026-11-30T12:00:00Z",
      ...attempt,
    })),
  };
}

describe("servedModel", () => {
  it("finds no difference in a prefix or a dated version", () => {
    expect(servedModel(request("gpt-4o", [{ model_served: "gpt-4o-2024-08-06" }])).cause).toBeNull();
    expect(servedModel(request("openai/gpt-4o", [{}]))).toEqual({
      asked: "openai/gpt-4o",
      served: "gpt-4o",
      cause: null,
    });
    expect(
      servedModel(request("box/m", [{ provider: "custom", endpoint: "box", model: "m" }])).cause,
    ).toBeNull();
  });

  it("names a fallback with the failure before it", () => {
    const moved = request("gpt-4o", [
      { outcome: "failed", error_class: "rate_limit" },
      { model: "gpt-4o-mini" },
    ]);
    expect(servedModel(moved)).toEqual({
      asked: "gpt-4o",
      served: "gpt-4o-mini",
      cause: "fallback after rate limit",
    });
    const retried = request("gpt-4o", [{ outcome: "failed", error_class: "rate_limit" }, {}]);
    expect(servedModel(retried).cause).toBeNull();
  });

  it("names the power level, an alias, and a name that only the provider uses", () => {
    expect(servedModel(request("auto", [{ power_level: "eco" }])).cause).toBe("power level eco");
    expect(servedModel(request("fast", [{}])).cause).toBe("alias or rule");
    expect(servedModel(request("gpt-4o", [{ model_served: "other" }]))).toEqual({
      asked: "gpt-4o",
      served: "other",
      cause: "name at the provider",
    });
  });

  it("has no served model without an attempt", () => {
    expect(servedModel(request("gpt-4o", []))).toEqual({ asked: "gpt-4o", served: null, cause: null });
  });
});
