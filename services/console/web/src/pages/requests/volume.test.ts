import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { bucketFor, narrowTo, prepareVolume } from "./volume";

const NOW = new Date("2026-11-30T12:00:00Z");

function figures(attempts: number): Schemas["UsageFigures"] {
  return {
    attempts,
    requests: attempts,
    completed: 0,
    failed: 0,
    cancelled: 0,
    indeterminate: 0,
    charge_micro_usd: 0,
    charged: 0,
    absorbed_micro_usd: 0,
    spend_unknown: 0,
    unpriced: 0,
    total_tokens: 0,
    token_usage: {},
  };
}

describe("bucketFor", () => {
  it("follows the length of the span", () => {
    expect(bucketFor({ since: "2026-11-30T06:00:00Z", until: null }, NOW)).toBe("15m");
    expect(bucketFor({ since: "2026-11-29T12:00:00Z", until: null }, NOW)).toBe("hour");
    expect(bucketFor({ since: "2026-10-31T12:00:00Z", until: null }, NOW)).toBe("day");
    expect(bucketFor({ since: "2026-10-31T12:00:00Z", until: "2026-10-31T13:00:00Z" }, NOW)).toBe("15m");
  });
});

describe("prepareVolume", () => {
  const series: Schemas["UsageSeries"] = {
    as_of: "2026-11-30T11:50:00Z",
    complete_until: "2026-11-30T11:40:00Z",
    bucket: "15m",
    tz: "UTC",
    since: "2026-11-30T11:15:00Z",
    until: "2026-11-30T12:00:00Z",
    buckets: [
      { start: "2026-11-30T11:15:00Z", end: "2026-11-30T11:30:00Z" },
      { start: "2026-11-30T11:45:00Z", end: "2026-11-30T12:00:00Z" },
    ],
    lines: [
      {
        key: { dimension: "outcome", kind: "value", value: "failed" },
        total: figures(3),
        points: [figures(1), figures(2)],
      },
      {
        key: { dimension: "outcome", kind: "value", value: "completed" },
        total: figures(9),
        points: [figures(5), figures(4)],
      },
    ],
  };

  it("adds outcomes up and marks what is not complete", () => {
    const volume = prepareVolume(series);
    expect(volume.lines.map((line) => line.outcome)).toEqual(["completed", "failed"]);
    expect(volume.totals).toEqual([6, 6]);
    expect(volume.total).toBe(12);
    expect(volume.buckets.map((bucket) => bucket.partial)).toEqual([false, true]);
  });

  it("narrows to a bucket", () => {
    expect(narrowTo({ start: "2026-11-30T11:15:00Z", end: "2026-11-30T11:30:00Z" })).toEqual({
      since: "2026-11-30T11:15:00.000Z",
      until: "2026-11-30T11:30:00.000Z",
    });
  });
});
