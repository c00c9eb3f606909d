import { describe, expect, it } from "vitest";
import {
  axisTicks,
  durationTick,
  highestPoint,
  highestStack,
  isIsolated,
  largestSeries,
  moneyTick,
  moveTo,
  positionAt,
  sharesPermille,
  shareText,
  sparkPath,
  trackPosition,
} from "./prepare";

describe("an axis", () => {
  it.each([
    [67, [0, 20, 40, 60, 80]],
    [80, [0, 20, 40, 60, 80]],
    [2.8, [0, 1, 2, 3]],
    [0.07, [0, 0.02, 0.04, 0.06, 0.08]],
    [1, [0, 0.25, 0.5, 0.75, 1]],
  ])("begins at zero and covers %d", (highest, ticks) => {
    expect(axisTicks(highest)).toEqual(ticks);
  });

  it("has whole steps for counts, and something for nothing", () => {
    expect(axisTicks(2, 4, 1)).toEqual([0, 1, 2]);
    expect(axisTicks(9, 4, 1)).toEqual([0, 3, 6, 9]);
    expect(axisTicks(0, 4, 1)).toEqual([0, 1]);
    expect(axisTicks(Number.NaN)).toEqual([0, 1]);
  });

  it("ends at or above the highest value, at most one step above", () => {
    for (let highest = 0.001; highest < 1e9; highest *= 1.37) {
      const ticks = axisTicks(highest);
      const last = ticks.at(-1) ?? 0;
      expect(last).toBeGreaterThanOrEqual(highest * (1 - 1e-9));
      expect(last - (ticks[1] ?? 0)).toBeLessThan(highest);
      expect(ticks.length).toBeLessThanOrEqual(6);
    }
  });

  it("writes money with as many decimals as tell its steps apart", () => {
    expect(moneyTick(20_000_000, 20_000_000)).toBe("$20");
    expect(moneyTick(1_200_000_000, 400_000_000)).toBe("$1,200");
    expect(moneyTick(2_500_000, 2_500_000)).toBe("$2.50");
    expect(moneyTick(50_000, 50_000)).toBe("$0.05");
    expect(moneyTick(500, 500)).toBe("$0.0005");
    expect(moneyTick(1, 1)).toBe("$0.000001");
    expect(moneyTick(0, 500)).toBe("$0");
  });

  it("writes durations", () => {
    expect([0, 250, 1000, 2500, 120_000].map(durationTick)).toEqual([
      "0 ms",
      "250 ms",
      "1 s",
      "2.5 s",
      "2 min",
    ]);
  });
});

describe("series", () => {
  it("have a highest stack and a highest point", () => {
    const series = [
      [1, 5, null],
      [2, 3, 4],
    ];
    expect(highestStack(series)).toBe(8);
    expect(highestPoint(series)).toBe(5);
    expect(highestStack([])).toBe(0);
  });

  it("beyond the largest are added up, and nothing is lost", () => {
    const all = Array.from({ length: 31 }, (_, index) => ({ name: `m${index}`, values: [index, 1] }));
    const shown = largestSeries(all);
    expect(shown).toHaveLength(9);
    expect(shown[0]?.name).toBe("m30");
    expect(shown.at(-1)?.name).toBe("Other (of 31)");
    const sum = (series: readonly { values: readonly number[] }[]) =>
      series.flatMap((each) => each.values).reduce((total, value) => total + value, 0);
    expect(sum(shown)).toBe(sum(all));
    expect(largestSeries(all.slice(0, 8))).toHaveLength(8);
  });

  it("show points without neighbours", () => {
    const values = [null, 3, null, 4, 5, null];
    expect(values.map((_, index) => isIsolated(values, index))).toEqual([
      false,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(isIsolated([7], 0)).toBe(true);
    expect(sparkPath([1, null, 2, 2], 30, 10)).toBe("M0.0 5.0L0.0 5.0M20.0 0.0L30.0 0.0");
    expect(sparkPath([0, 0], 30, 10)).toBe("M0.0 10.0L30.0 10.0");
  });
});

describe("shares", () => {
  it("add up to all of it", () => {
    expect(sharesPermille([1, 1, 1])).toEqual([334, 333, 333]);
    expect(sharesPermille([0, 0])).toEqual([0, 0]);
    for (let seed = 1; seed < 200; seed += 1) {
      const shares = sharesPermille([seed, (seed * 7919) % 101, (seed * 104_729) % 997]);
      expect(shares.reduce((total, share) => total + share, 0)).toBe(1000);
    }
  });

  it("that are not nothing are never 0 %", () => {
    expect(shareText(0, 1)).toBe("<0.1 %");
    expect(shareText(0, 0)).toBe("0 %");
    expect(shareText(4, 4)).toBe("0.4 %");
    expect(shareText(620, 620)).toBe("62 %");
    expect(shareText(994, 5)).toBe("99.4 %");
    expect(shareText(1000, 5)).toBe("100 %");
  });
});

describe("positions", () => {
  it("on a track never leave it", () => {
    expect(trackPosition(0, 50, 100)).toEqual({ left: 0, width: 50 });
    expect(trackPosition(100, 0, 100)).toEqual({ left: 99.6, width: 0.4 });
    expect(trackPosition(90, 50, 100)).toEqual({ left: 90, width: 10 });
    expect(trackPosition(-5, 10, 100)).toEqual({ left: 0, width: 5 });
    expect(trackPosition(0, 0, 0)).toEqual({ left: 0, width: 0.4 });
  });

  it("move by the keyboard and stop at the ends", () => {
    expect(moveTo("ArrowRight", null, 5)).toBe(0);
    expect(moveTo("ArrowLeft", null, 5)).toBe(4);
    expect(moveTo("ArrowRight", 4, 5)).toBe(4);
    expect(moveTo("ArrowLeft", 0, 5)).toBe(0);
    expect(moveTo("End", 1, 5)).toBe(4);
    expect(moveTo("Escape", 1, 5)).toBeNull();
    expect(moveTo("a", 1, 5)).toBeUndefined();
  });

  it("are found below a pointer", () => {
    expect(positionAt(64, 264, 64, 0, 10)).toBe(0);
    expect(positionAt(263, 264, 64, 0, 10)).toBe(9);
    expect(positionAt(264, 264, 64, 0, 10)).toBe(9);
    expect(positionAt(10, 264, 64, 0, 10)).toBeNull();
    expect(positionAt(100, 264, 64, 0, 0)).toBeNull();
  });
});
