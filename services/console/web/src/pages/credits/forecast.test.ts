import { describe, expect, it } from "vitest";
import { balancesAt, burnDown, type DayCharge, FAR, lastingText, project } from "./forecast";

/** Two weeks that end on a Sunday (0), with what each day of the week takes. */
function twoWeeks(take: (weekday: number) => number): DayCharge[] {
  return Array.from({ length: 14 }, (_, index) => {
    const weekday = (index + 1) % 7;
    return { weekday, micro: take(weekday) };
  });
}

describe("how long credits last", () => {
  it("is the balance by the rate, if every day is alike", () => {
    const down = burnDown(
      140,
      twoWeeks(() => 10),
      0,
    );
    expect(down?.lasting).toEqual({ likely: 14, least: 14, most: 14, perDay: 10 });
    expect(down?.likely.at(-1)).toBe(0);
  });

  it("knows that weekends take less", () => {
    const down = burnDown(
      100,
      twoWeeks((weekday) => (weekday === 0 || weekday === 6 ? 0 : 20)),
      5,
    );
    // On a Friday evening: two days that take nothing, then Monday to Friday.
    expect(down?.lasting.likely).toBe(7);
    expect(down?.likely).toEqual([100, 100, 100, 80, 60, 40, 20, 0]);
  });

  it("has a range that grows with how much days vary", () => {
    const days = twoWeeks(() => 10).map((day, index) => ({ ...day, micro: index % 2 === 0 ? 2 : 18 }));
    const lasting = burnDown(140, days, 0)?.lasting;
    expect(lasting?.least).toBeLessThan(lasting?.likely ?? 0);
    expect(lasting?.most).toBeGreaterThan(lasting?.likely ?? 0);
  });

  it("is not known without days, without charges or without credits", () => {
    expect(
      burnDown(
        100,
        twoWeeks(() => 0),
        0,
      ),
    ).toBeNull();
    expect(
      burnDown(
        0,
        twoWeeks(() => 5),
        0,
      ),
    ).toBeNull();
    expect(burnDown(100, twoWeeks(() => 5).slice(0, 2), 0)).toBeNull();
  });

  it("ends somewhere", () => {
    expect(project(1e15, [1, 1, 1, 1, 1, 1, 1], 0, 1)).toHaveLength(FAR + 1);
  });

  it.each([
    [{ likely: 14, least: 11, most: 19, perDay: 1 }, "about 14 days (11 to 19)"],
    [{ likely: 1, least: 1, most: 1, perDay: 1 }, "about 1 day"],
    [{ likely: 300, least: 200, most: FAR, perDay: 1 }, "about 300 days (200 to more than a year)"],
    [{ likely: FAR, least: FAR, most: FAR, perDay: 1 }, "more than a year"],
  ])("is written %j", (lasting, text) => {
    expect(lastingText(lasting)).toBe(text);
  });
});

describe("balances of the past", () => {
  it("are those after the latest entry before each moment", () => {
    const entries = [
      { at: "2026-11-03T12:00:00Z", balance: 70 },
      { at: "2026-11-02T12:00:00Z", balance: 90 },
    ];
    const moments = [
      "2026-11-02T00:00:00Z",
      "2026-11-03T00:00:00Z",
      "2026-11-04T00:00:00Z",
      "2026-11-05T00:00:00Z",
    ];
    expect(balancesAt(entries, moments)).toEqual([null, 90, 70, 70]);
  });
});
