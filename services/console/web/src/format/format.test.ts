import { describe, expect, it } from "vitest";
import { formatDuration, formatLongDuration } from "./duration";
import { decimalToMicroUsd, formatDollars, formatExact, formatTotal, parseDollars } from "./money";
import { countOf, formatShare, relativeChange } from "./numbers";
import { formatClock, formatDay, formatRelative, formatTime } from "./time";

describe("money", () => {
  it.each([
    [0, "$0.00"],
    [1, "$0.000001"],
    [9_999, "$0.009999"],
    [10_000, "$0.01"],
    [14_999, "$0.01"],
    [15_000, "$0.02"],
    [1_188_820_000, "$1,188.82"],
    ["9007199254740993000000", "$9,007,199,254,740,993.00"],
    [-2_500_000, "−$2.50"],
  ])("shows %s micro-dollars as the total %s", (micro, shown) => {
    expect(formatTotal(micro)).toBe(shown);
  });

  it("shows single requests with six decimals", () => {
    expect(formatExact(3_912)).toBe("$0.003912");
  });

  it.each([
    ["0.0039125", 3_913n],
    ["0.0039124", 3_912n],
    ["12", 12_000_000n],
    ["-0.000001", -1n],
  ])("reads the decimal %s", (text, micro) => {
    expect(decimalToMicroUsd(text)).toBe(micro);
  });

  it.each([
    ["0.0000001", "< $0.000001"],
    ["-0.0000004", "> −$0.000001"],
    ["0.0000005", "$0.000001"],
    ["0.000000", "$0.000000"],
    ["1.5", "$1.500000"],
  ])("shows the exact amount %s as %s", (dollars, shown) => {
    expect(formatDollars(dollars, true)).toBe(shown);
  });

  it.each(["", "1e3", "1.2.3", "NaN"])("refuses %j as a decimal", (text) => {
    expect(() => decimalToMicroUsd(text)).toThrow(RangeError);
  });

  it.each([
    ["12.50", 12_500_000n],
    ["$1,000", 1_000_000_000n],
    ["0.1", 100_000n],
    ["1.1234567", null],
    ["-5", null],
    ["abc", null],
  ])("understands %s as typed by a person", (text, micro) => {
    expect(parseDollars(text)).toBe(micro);
  });
});

describe("numbers", () => {
  it.each([
    [0, "0 %"],
    [0.00001, "<0.1 %"],
    [0.004, "0.4 %"],
    [0.99999, ">99.9 %"],
    [1, "100 %"],
  ])("shows the share %s as %s", (share, shown) => {
    expect(formatShare(share)).toBe(shown);
  });

  it("has no change from nothing", () => {
    expect(relativeChange(5, 0)).toBeNull();
    expect(relativeChange(5, 4)).toBe(0.25);
  });

  it("counts in words", () => {
    expect(countOf(1, "request")).toBe("1 request");
    expect(countOf(1234, "request")).toBe("1,234 requests");
  });
});

describe("durations", () => {
  it.each([
    [14, "14 ms"],
    [1480, "1.48 s"],
    [125_000, "2 min 5 s"],
  ])("shows %s ms as %s", (milliseconds, shown) => {
    expect(formatDuration(milliseconds)).toBe(shown);
  });

  it("shows days and hours", () => {
    expect(formatLongDuration(14 * 86_400 + 7200)).toBe("14 d 2 h");
  });
});

describe("times", () => {
  const now = new Date("2026-11-30T14:10:00Z");

  it("shows the zone's time", () => {
    expect(formatTime("2026-11-30T14:02:07Z", "Asia/Kathmandu", now)).toBe("Nov 30, 19:47:07");
    expect(formatTime("2025-12-31T23:59:59Z", "UTC", now)).toBe("Dec 31, 2025, 23:59:59");
    expect(formatClock("2026-11-30T14:02:07Z", "Europe/Berlin")).toBe("15:02");
  });

  it("shows the day of the zone, not of UTC", () => {
    expect(formatDay("2026-11-29T23:30:00Z", "Europe/Berlin")).toBe("Nov 30");
    expect(formatDay("2026-11-30T04:30:00Z", "America/New_York")).toBe("Nov 29");
  });

  it.each([
    ["2026-11-30T14:08:00Z", "2 minutes ago"],
    ["2026-11-29T14:10:00Z", "yesterday"],
    ["2026-11-30T14:10:30Z", "in 30 seconds"],
    ["2026-11-30T14:09:58Z", "just now"],
  ])("shows how far away %s is", (iso, shown) => {
    expect(formatRelative(iso, now)).toBe(shown);
  });
});
