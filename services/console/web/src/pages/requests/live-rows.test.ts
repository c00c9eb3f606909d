import { describe, expect, it } from "vitest";
import type { LoggedRequest } from "@/components/request-words";
import { readSearch } from "@/url/search";
import { REQUEST_SEARCH } from "./filters";
import { matchesFilters, newerOf } from "./live-rows";

const ATTEMPT = {
  attempt_id: "att_06h2aaaa",
  attempt_number: 1,
  decision_id: "dec_06h2bbbb",
  provider: "openai",
  model: "gpt-4o-mini",
  outcome: "failed",
  error_class: "rate_limit",
  key_source: "byok",
  key_id: "key_06h2",
  latency_ms: 700,
  cost_usd: "0.0021",
  pricing: "priced",
  usage_source: "reported",
  started_at: "2026-11-30T12:00:00Z",
  recorded_at: "2026-11-30T12:00:00Z",
} as const;

const REQUEST: LoggedRequest = {
  request_id: "req_06h2cccc",
  decision_id: "dec_06h2bbbb",
  started_at: "2026-11-30T12:00:00Z",
  kind: "chat",
  stream: false,
  outcome: "failed",
  error_class: "rate_limit",
  error: "OpenAI limits the rate of requests",
  model_asked: "auto",
  operation: "chat",
  tags: { team: "red" },
  trace_id: "7a0197f49db560af",
  attempts: [ATTEMPT, { ...ATTEMPT, provider: "mistral", model: "small", error_class: null, latency_ms: 20 }],
};

function matches(search: string, request = REQUEST): boolean {
  return matchesFilters(request, readSearch(REQUEST_SEARCH, search).values);
}

describe("matchesFilters", () => {
  it.each([
    "",
    "?outcome=failed&operation=chat",
    "?provider=openai&error_class=rate_limit",
    "?model=auto",
    "?model=small&provider=mistral",
    "?tag=team",
    "?tag=team%3Dred",
    "?text=RATE+openai",
    "?id=req_06h2",
    "?id=7a0197f4",
    "?min_latency_ms=700",
    "?min_cost_usd=0.0021",
  ])("has %s", (search) => {
    expect(matches(search)).toBe(true);
  });

  it.each([
    "?outcome=completed",
    "?provider=mistral&error_class=rate_limit",
    "?tag=team%3Dblue",
    "?text=ope",
    "?id=req_zzzz",
    "?min_latency_ms=701",
    "?min_cost_usd=0.0022",
    "?key_source=platform",
  ])("has not %s", (search) => {
    expect(matches(search)).toBe(false);
  });

  it("finds a refused request by what it has", () => {
    const refused: LoggedRequest = { ...REQUEST, outcome: "refused", error_class: "credit", attempts: [] };
    expect(matches("?outcome=refused&error_class=credit", refused)).toBe(true);
    expect(matches("?provider=openai", refused)).toBe(false);
  });
});

describe("newerOf", () => {
  it("keeps the row with more attempts", () => {
    const less = { ...REQUEST, attempts: [ATTEMPT] };
    expect(newerOf(REQUEST, less)).toBe(REQUEST);
    expect(newerOf(less, REQUEST)).toBe(REQUEST);
  });
});
