import { describe, expect, it } from "vitest";
import { addDecimals, sameDecimal } from "@/format/decimals";
import { asCurl, supportBundle } from "./copies";
import { fixHint } from "./fix-hints";
import { callerTime, fellBack, type RequestRecords, resultSentence, stateOf, timeOfId } from "./records";
import { waterfallRows } from "./waterfall-rows";
import { asSentence, whyDecisions } from "./why";

const AT = "2026-11-30T15:52:08.257Z";

function attempt(number: number, changes: object): RequestRecords["attempts"][number] {
  return {
    cost_usd: "0.0006378",
    pricing: "priced",
    recorded_at: AT,
    record: {
      attempt_id: `att_${number}`,
      attempt_number: number,
      decision_id: `dec_${number}`,
      request_id: "req_1",
      key_id: "key_1",
      key_source: "byok",
      latency_ms: 803,
      model: "gpt-4o-mini",
      model_asked: "gpt-4o-mini",
      outcome: "completed",
      provider: "openai",
      spool_seq: 1,
      started_at: AT,
      stream: false,
      tenant: "acme",
      token_usage: { input: 1408, output: 700, reasoning: 11 },
      worker_id: "w",
      ...changes,
    },
  };
}

function decision(number: number, changes: object = {}): RequestRecords["decisions"][number] {
  return {
    candidates: [],
    decided_at: AT,
    decision_id: `dec_${number}`,
    duration_us: 1,
    model_asked: "gpt-4o-mini",
    order: [],
    refusal: null,
    request_id: "req_1",
    router: "router",
    stream: true,
    tenant: "acme",
    ...changes,
  };
}

const FAILED = attempt(1, { outcome: "failed", latency_ms: 5, token_usage: {} });
const SECOND = attempt(2, { provider: "mistral", model: "small" });
const REQUEST: NonNullable<RequestRecords["request"]> = {
  request_id: "req_1",
  decision_id: "dec_2",
  started_at: AT,
  kind: "chat",
  stream: true,
  outcome: "completed",
  model_asked: "gpt-4o-mini",
  operation: "classify",
  tags: { team: "it's blue" },
};

function records(changes: Partial<RequestRecords>): RequestRecords {
  return {
    request_id: "req_1",
    request: REQUEST,
    attempts: [FAILED, SECOND],
    decisions: [decision(1), decision(2)],
    arithmetic: [],
    explained: [],
    timeline: [
      { kind: "received", attempt_number: 1, started_at: AT, offset_ms: 0, duration_ms: 1 },
      {
        kind: "routing",
        attempt_number: 1,
        started_at: AT,
        offset_ms: 1,
        duration_ms: 9,
        decision_id: "dec_1",
      },
      {
        kind: "attempt",
        attempt_number: 2,
        attempt_id: "att_2",
        started_at: AT,
        offset_ms: 2251,
        duration_ms: 803,
        first_token_ms: 120,
        outcome: "completed",
      },
      {
        kind: "recording",
        attempt_number: 2,
        attempt_id: "att_2",
        started_at: AT,
        offset_ms: 3054,
        duration_ms: 29,
      },
    ],
    ...changes,
  };
}

describe("the state of a request", () => {
  it("completes on a later attempt, in the time that the caller waited", () => {
    expect(stateOf(records({}))).toBe("completed");
    expect(callerTime(records({}))).toBe(3054);
    expect(resultSentence(records({}))).toBe("Succeeded on the second attempt in 3.05 s.");
    expect(fellBack(records({}))).toBe(true);
    expect(fellBack(records({ attempts: [SECOND] }))).toBe(false);
  });

  it("is running while the attempt of the last decision is not recorded", () => {
    const first = records({ attempts: [], decisions: [decision(1)], request: null });
    expect(stateOf(first)).toBe("running");
    expect(resultSentence(first)).toContain("No attempt has ended");
    expect(stateOf(records({ attempts: [FAILED] }))).toBe("running");
  });

  it("is refused without an attempt, failed, cancelled or unknown", () => {
    const refused = records({
      attempts: [],
      decisions: [decision(1, { refusal: { failure_class: "credit", message: "no credit" } })],
      request: { ...REQUEST, outcome: "refused", error_class: "credit" },
    });
    expect(stateOf(refused)).toBe("refused");
    expect(resultSentence(refused)).toBe("Refused before any attempt: no credit.");
    const failed = records({
      attempts: [FAILED],
      decisions: [decision(1)],
      request: { ...REQUEST, outcome: "failed", error_class: "timeout" },
    });
    expect(resultSentence(failed)).toBe("Failed in 3.05 s: timeout.");
    const cancelled = records({
      attempts: [SECOND],
      decisions: [decision(2)],
      request: { ...REQUEST, outcome: "cancelled" },
    });
    expect(resultSentence(cancelled)).toBe("Cancelled: the caller went away after 3.05 s.");
  });
});

describe("timeOfId", () => {
  it("reads the time in an id", () => {
    expect(new Date(timeOfId("req_06h2q9vkilsah9bssjpgongdk0") ?? 0).toISOString()).toBe(
      "2026-11-30T15:52:02.965Z",
    );
    expect(timeOfId("req_x")).toBeNull();
  });
});

describe("waterfallRows", () => {
  it("has a row for each step, and one for the first token", () => {
    const { rows, total } = waterfallRows(records({}), new Map([["key_1", "main sk-…9f2x"]]));
    expect(total).toBe(3083);
    expect(rows.map((row) => row.label)).toEqual([
      "ingress: authenticate, read the request",
      "router: limits, hold, 0 candidates, 0 kept",
      "attempt 2 · mistral/small · main sk-…9f2x",
      "first token",
      "ledger: 1,408 in + 711 out = $0.000638",
    ]);
    expect(rows[3]).toMatchObject({ start: 2371, depth: 2, text: "after 120 ms", status: "ok" });
  });
});

describe("why", () => {
  it("leaves out what the decision before has said", () => {
    const asked = {
      kind: "asked",
      text: "asked for gpt-4o",
      reason: null,
      removed: 0,
      left: null,
      examples: [],
    } as const;
    const chosen = { ...asked, kind: "chosen", text: "openai/gpt-4o: first" } as const;
    const explained = [1, 2].map((number) => ({
      decision_id: `dec_${number}`,
      attempt_number: number,
      chosen: "openai/gpt-4o",
      steps: [asked, chosen].map((step) => ({ ...step, examples: [] })),
    }));
    expect(whyDecisions(explained).map((each) => each.steps.map((step) => step.kind))).toEqual([
      ["asked", "chosen"],
      ["chosen"],
    ]);
    expect(asSentence("removed 2: the model is not offered there")).toBe(
      "Removed 2: the model is not offered there.",
    );
    expect(asSentence("openai/gpt-4o: first")).toBe("openai/gpt-4o: first.");
  });
});

describe("decimals", () => {
  it("adds without rounding", () => {
    expect(addDecimals(["0.0002112", "0.0004266"])).toBe("0.0006378");
    expect(addDecimals(["0.1", "0.2", "-0.3"])).toBe("0");
    expect(addDecimals([])).toBe("0");
    expect(sameDecimal("0.50", "0.5")).toBe(true);
    expect(() => addDecimals(["1e3"])).toThrow(RangeError);
  });
});

describe("copies", () => {
  it("quotes what callers have sent", () => {
    const curl = asCurl(records({}), "https://api.example", null);
    expect(curl).toContain("curl 'https://api.example/v1/chat/completions'");
    expect(curl).toContain("-H 'x-keyferry-tags: team=it'\\''s blue'");
    expect(curl).toContain('"stream":true');
    expect(asCurl(records({}), "https://api.example", '{"a":"it\'s"}')).toContain(
      "-d '{\"a\":\"it'\\''s\"}'",
    );
  });

  it("leaves tokens, people and proofs of payment out of the bundle", () => {
    const secret = attempt(1, {
      client_token_id: "tok_1",
      member: "mem_1",
      reservation: { holds: [], not_after_unix_ms: 1, certificate: { signature: "SIGNED" } },
    });
    const bundle = supportBundle(records({ attempts: [secret] }), "1.0", new Date(AT));
    expect(JSON.parse(bundle).records.attempts[0].record.attempt_id).toBe("att_1");
    expect(bundle).not.toMatch(/SIGNED|tok_1|mem_1|blue/);
  });
});

describe("fixHint", () => {
  it("depends on whose key it was", () => {
    expect(fixHint("rate_limit", "byok")).toContain("second key");
    expect(fixHint("rate_limit", "platform")).toContain("of your own");
    expect(fixHint("cancelled", "byok")).toBeNull();
  });
});
