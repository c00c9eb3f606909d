import { describe, expect, it } from "vitest";
import { readSearch } from "@/url/search";
import {
  bucketOf,
  NO_FILTERS,
  repeatedQuery,
  requestsSearch,
  setFilters,
  USAGE_SEARCH,
  usageQuery,
} from "./search";

const read = (search: string) => readSearch(USAGE_SEARCH, search).values;
const SPAN = { since: "2026-11-01T00:00:00Z", until: "2026-12-01T00:00:00Z" };

describe("what the page asks the API for", () => {
  it("is the range with the billing zone", () => {
    expect(usageQuery(read(""), "Europe/Berlin")).toEqual({ period: "30d", tz: "Europe/Berlin" });
  });

  it("is a custom time in place of the range, with all filters under the API's names", () => {
    const values = read(
      "since=2026-11-01T00:00:00Z&until=2026-12-01T00:00:00Z&provider=openai&provider=mistral&level=eco&key_id=key_1&team=&tag=a=b",
    );
    expect(usageQuery(values, "UTC")).toEqual({
      ...SPAN,
      tz: "UTC",
      provider: ["openai", "mistral"],
      power_level: ["eco"],
      key: ["key_1"],
      team: [""],
      tag: ["a=b"],
    });
    expect(usageQuery(values, "UTC", "provider").provider).toBeUndefined();
    expect(setFilters(values)).toHaveLength(6);
    expect(setFilters({ ...values, ...NO_FILTERS })).toEqual([]);
  });

  it("repeats values", () => {
    expect(repeatedQuery({ by: ["model", "provider"], tz: "UTC", team: [""], since: undefined })).toBe(
      "?by=model&by=provider&tz=UTC&team=",
    );
  });

  it.each([
    ["range=24h", "hour"],
    ["range=90d", "day"],
    ["since=2026-11-01T00:00:00Z&until=2026-11-03T00:00:00Z", "hour"],
    ["since=2026-11-01T00:00:00Z&until=2026-12-03T00:00:00Z", "day"],
    ["since=2025-11-01T00:00:00Z", "week"],
  ])("has buckets for %s of one %s", (search, bucket) => {
    expect(bucketOf(read(search), new Date("2026-11-30T16:00:00Z"))).toBe(bucket);
  });
});

describe("the link to the requests behind a figure", () => {
  it("has the same time and filters", () => {
    const search = new URLSearchParams(
      requestsSearch(read("provider=openai&level=eco"), SPAN, { outcome: "failed" }) ?? "",
    );
    expect(Object.fromEntries(search)).toEqual({
      ...SPAN,
      provider: "openai",
      level: "eco",
      outcome: "failed",
    });
  });

  it("is missing where the list cannot add up to the figure", () => {
    expect(requestsSearch(read("provider=openai&provider=mistral"), SPAN)).toBeNull();
    expect(requestsSearch(read("team="), SPAN)).toBeNull();
    expect(
      requestsSearch(read("provider=openai&provider=mistral"), SPAN, { provider: "openai" }),
    ).not.toBeNull();
  });

  it("keeps names with markup as text", () => {
    const search = requestsSearch(read(""), SPAN, { model: "<b>&model=x" });
    expect(new URLSearchParams(search ?? "").getAll("model")).toEqual(["<b>&model=x"]);
  });
});
