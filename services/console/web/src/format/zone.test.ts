import { describe, expect, it } from "vitest";
import { dayOf, nextDay, previousDay, startOfDay } from "./zone";

const ZONES = [
  "UTC",
  "Europe/Berlin",
  "America/New_York",
  "Asia/Kolkata",
  "Asia/Kathmandu",
  "Pacific/Apia",
  "Africa/Cairo",
  "Australia/Lord_Howe",
];

describe("a day of a zone", () => {
  it.each([
    ["2026-11-30", "Europe/Berlin", "2026-11-29T23:00:00Z"],
    ["2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z"],
    ["2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00Z"],
    ["2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z"],
    ["2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00Z"],
    ["2026-11-30", "Asia/Kathmandu", "2026-11-29T18:15:00Z"],
    // In Cairo clocks go forward at midnight: the day begins at one o'clock.
    ["2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00Z"],
  ])("%s in %s begins at %s", (day, zone, start) => {
    expect(startOfDay(day, zone)).toBe(start);
  });

  it.each(ZONES)("of %s begins where the day before ends, all year long", (zone) => {
    for (let day = "2026-01-01"; day < "2026-12-31"; day = nextDay(day)) {
      const start = Date.parse(startOfDay(day, zone) ?? "");
      expect(dayOf(new Date(start).toISOString(), zone)).toBe(day);
      expect(dayOf(new Date(start - 1000).toISOString(), zone)).toBe(previousDay(day));
    }
  });

  it.each(["2026-02-30", "2026-13-01", "today", "", "2026-1-1"])("%s is none", (day) => {
    expect(startOfDay(day, "UTC")).toBeNull();
  });
});
