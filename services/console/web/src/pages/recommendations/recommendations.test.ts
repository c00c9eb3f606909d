import { describe, expect, it } from "vitest";
import { changeInWords, leastSaved, type Recommendation, summaryOf } from "./recommendations";

const one = (kind: Recommendation["kind"], saved: number): Recommendation => ({
  recommendation_id: `${kind}-${saved}`,
  kind,
  title: "t",
  detail: "d",
  action: "a",
  confidence: "high",
  confidence_detail: "c",
  requests: 1,
  sampled: 1,
  spend_micro_usd: saved,
  saved_micro_usd: saved,
});
const found = (recommendations: Recommendation[], sampled = 10) => ({
  tenant: "acme",
  since: "2026-11-01T00:00:00Z",
  until: "2026-12-01T00:00:00Z",
  requests: 1200,
  sampled,
  spend_micro_usd: 5_000_000,
  recommendations,
});

describe("the summary", () => {
  it("does not count a request twice", () => {
    const all = [one("cheaper_model", 1_000_000), one("cheaper_model", 500_000), one("own_key", 1_200_000)];
    expect(leastSaved(all)).toBe(1_500_000n);
    expect(summaryOf(found(all), 30)).toBe(
      "1,200 requests of the last 30 days come to $5.00 at today's prices; at least $1.50 of that could have been saved.",
    );
  });

  it("says when there is nothing", () => {
    expect(summaryOf(found([one("eu_residency", 0)]), 7)).toContain("nothing would have made them");
    expect(summaryOf(found([], 0), 7)).toBe("No request of the last 7 days can be planned again.");
  });
});

describe("a change in words", () => {
  it("names what is not known", () => {
    expect(changeInWords("quality", 81, 78)).toBe("quality 81 → 78");
    expect(changeInWords("quality", null, 0)).toBe("quality not known → 0");
    expect(changeInWords("quality", null, undefined)).toBeNull();
  });
});
