import { describe, expect, it } from "vitest";
import { readSearch } from "@/url/search";
import {
  activeFilters,
  NO_FILTERS,
  REQUEST_SEARCH,
  readSearchText,
  requestQuery,
  spanOf,
  usageQuery,
} from "./filters";

const NOW = new Date("2026-11-30T12:00:00Z");

function filters(search: string) {
  const read = readSearch(REQUEST_SEARCH, search);
  expect(read.dropped).toEqual([]);
  return read.values;
}

describe("spanOf", () => {
  it("counts back from now, from an end, or takes both times", () => {
    expect(spanOf(filters("?range=1h"), NOW)).toEqual({ since: "2026-11-30T11:00:00.000Z", until: null });
    expect(spanOf(filters("?range=1h&until=2026-11-30T10:00:00Z"), NOW)).toEqual({
      since: "2026-11-30T09:00:00.000Z",
      until: "2026-11-30T10:00:00Z",
    });
    expect(spanOf(filters("?since=2026-11-29T10:00:00Z"), NOW).since).toBe("2026-11-29T10:00:00Z");
  });
});

describe("queries", () => {
  const all = filters(
    "?outcome=failed&provider=my-server&level=eco&key_id=key_1&tag=team%3Dred&min_latency_ms=500&text=too+slow",
  );
  it("has every filter for requests", () => {
    expect(requestQuery(all, { since: "2026-11-29T10:00:00Z", until: null })).toEqual({
      outcome: "failed",
      provider: "my-server",
      level: "eco",
      key_id: "key_1",
      tag: "team=red",
      min_latency_ms: "500",
      text: "too slow",
      since: "2026-11-29T10:00:00Z",
    });
  });

  it("has for usage what usage can filter by, under its names, and names the rest", () => {
    expect(usageQuery(all, new Set(["my-server"]))).toEqual({
      query: {
        outcome: ["failed"],
        endpoint: ["my-server"],
        power_level: ["eco"],
        key: ["key_1"],
        tag: ["team=red"],
      },
      ignored: ["min_latency_ms", "text"],
    });
    expect(usageQuery(filters("?outcome=refused&provider=openai"), new Set(), "provider")).toEqual({
      query: {},
      ignored: ["outcome"],
    });
  });

  it("clears all filters and leaves the range", () => {
    const cleared = { ...all, ...NO_FILTERS };
    expect(activeFilters(cleared)).toEqual([]);
    expect(cleared.range).toBe("24h");
  });
});

describe("invalid parameters", () => {
  it("are dropped by name", () => {
    const read = readSearch(
      REQUEST_SEARCH,
      "?outcome=great&min_latency_ms=-1&id=short&min_cost_usd=1e9&range=24h",
    );
    expect(read.dropped).toEqual(["outcome", "min_cost_usd", "min_latency_ms", "id"]);
    expect(activeFilters(read.values)).toEqual([]);
  });
});

describe("readSearchText", () => {
  it("tells ids from words", () => {
    expect(readSearchText(" req_06h2qa0985pcncqvput6rfu18o ").kind).toBe("request");
    expect(readSearchText("req_06h2").kind).toBe("id");
    expect(readSearchText("7a0197f49db560aff70e214582666bac").kind).toBe("id");
    expect(readSearchText("rate limit")).toEqual({ kind: "text", value: "rate limit" });
    expect(readSearchText("  ").kind).toBe("none");
  });
});
