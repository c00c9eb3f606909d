import { describe, expect, it } from "vitest";
import { REST_COLOR } from "@/ui/charts";
import { nameOfValue } from "./names";
import {
  billersText,
  changePermille,
  chartBuckets,
  chartSeries,
  errorRate,
  type Figures,
  latencyLines,
  type ModelRow,
  rateText,
  sortRows,
  spendText,
} from "./prepare";

const figures = (more: Partial<Figures> = {}): Figures => ({
  absorbed_micro_usd: 0,
  attempts: 10,
  cancelled: 0,
  charge_micro_usd: 0,
  charged: 0,
  completed: 10,
  failed: 0,
  indeterminate: 0,
  requests: 10,
  spend_micro_usd: 1_000_000,
  spend_unknown: 0,
  token_usage: {},
  total_tokens: 100,
  unpriced: 0,
  ...more,
});
const provider = (value: string) => ({ dimension: "provider", kind: "value", value }) as const;
const row = (id: string, more: Partial<Figures>): ModelRow => ({
  id,
  model: null,
  provider: provider(id),
  source: { dimension: "key_source", kind: "value", value: "byok" },
  figures: figures(more),
});

describe("the buckets of a chart", () => {
  it("are days of the billing zone, of which the last is partial", () => {
    const buckets = chartBuckets({
      bucket: "day",
      tz: "Asia/Kolkata",
      as_of: "2026-11-30T10:00:00Z",
      complete_until: "2026-11-30T09:50:00Z",
      buckets: [
        { start: "2026-11-28T18:30:00Z", end: "2026-11-29T18:30:00Z" },
        { start: "2026-11-29T18:30:00Z", end: "2026-11-30T10:00:00Z" },
      ],
    });
    expect(buckets).toEqual([
      { label: "Nov 29", title: "Sunday, Nov 29", partial: false },
      { label: "Nov 30", title: "Monday, Nov 30", partial: true },
    ]);
  });

  it("are hours on a day on which clocks go back", () => {
    const buckets = chartBuckets({
      bucket: "hour",
      tz: "Europe/Berlin",
      as_of: "2026-10-26T00:00:00Z",
      complete_until: "2026-10-25T23:50:00Z",
      buckets: [
        { start: "2026-10-25T00:00:00Z", end: "2026-10-25T01:00:00Z" },
        { start: "2026-10-25T01:00:00Z", end: "2026-10-25T02:00:00Z" },
      ],
    });
    expect(buckets.map((bucket) => bucket.label)).toEqual(["02:00", "02:00"]);
    expect(buckets.every((bucket) => !bucket.partial)).toBe(true);
  });
});

describe("the series of a chart", () => {
  it("have the rest last, and add up to what the API has", () => {
    const { stacked, totals } = chartSeries(
      {
        lines: [
          {
            key: provider("openai"),
            points: [figures(), figures({ spend_micro_usd: null })],
            total: figures(),
          },
          {
            key: { dimension: "provider", kind: "rest" },
            values_count: 23,
            points: [figures({ spend_micro_usd: 5 }), figures({ spend_micro_usd: 7 })],
            total: figures(),
          },
        ],
      },
      "spend",
      (key) => nameOfValue(key, new Map([["openai", "OpenAI"]])),
    );
    expect(stacked.map((each) => each.name)).toEqual(["OpenAI", "Other (of 24)"]);
    expect(stacked[1]?.color).toBe(REST_COLOR);
    expect(totals).toEqual([1_000_005, 7]);
  });

  it("tell two tokens with one label apart", () => {
    const line = (value: string) => ({
      key: { dimension: "client_token", kind: "value", value } as const,
      points: [figures()],
      total: figures(),
    });
    const { stacked } = chartSeries({ lines: [line("tok_1"), line("tok_2")] }, "requests", () => "ci");
    expect(stacked.map((each) => each.name)).toEqual(["ci", "ci (2)"]);
  });

  it("of latency have gaps where nothing was completed", () => {
    const latency = { count: 3, p50_ms: 100, p95_ms: 200, p99_ms: 300 };
    expect(latencyLines([figures({ latency }), figures()]).map((line) => line.values)).toEqual([
      [100, null],
      [200, null],
    ]);
  });
});

describe("figures", () => {
  it("are unknown rather than nothing", () => {
    expect(spendText(figures({ spend_micro_usd: null }))).toBe("unknown");
    expect(spendText(figures({ spend_micro_usd: null, attempts: 0 }))).toBe("$0.00");
    expect(spendText(figures({ spend_micro_usd: 3912 }))).toBe("$0.003912");
    expect(rateText(errorRate(figures({ attempts: 0 })))).toBe("no traffic");
    expect(rateText(errorRate(figures({ attempts: 100_000, failed: 1 })))).toBe("<0.1 %");
  });

  it("change against something, or not at all", () => {
    expect(changePermille(102, 100)).toBe(20);
    expect(changePermille(50, 100)).toBe(-500);
    expect(changePermille(50, 0)).toBeNull();
    expect(changePermille(null, 5)).toBeNull();
  });
});

describe("the table by model", () => {
  const rows = [
    row("a", { spend_micro_usd: 5, attempts: 0 }),
    row("b", { spend_micro_usd: null, failed: 5 }),
    row("c", { spend_micro_usd: 9, failed: 1 }),
  ];

  it.each([
    ["-spend", "cab"],
    ["spend", "acb"],
    ["-errors", "bca"],
    ["errors", "cba"],
    ["-p95", "abc"],
  ])("sorted by %s has rows without a value last", (sort, order) => {
    expect(
      sortRows(rows, sort)
        .map((each) => each.id)
        .join(""),
    ).toBe(order);
  });

  it("says who bills for own keys", () => {
    expect(billersText(rows.slice(0, 2), (key) => key.value ?? "")).toBe("a and b");
    expect(billersText([], () => "")).toBe("your providers");
  });
});
