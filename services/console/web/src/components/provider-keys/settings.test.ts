import { expect, test } from "vitest";
import { changedSettings, decimalDollars, type KeySettings } from "./settings";

const BEFORE: KeySettings = {
  label: "main",
  priority: 100,
  weight: 1,
  models: ["gpt-4o"],
  limit: "50",
  expires: "",
  team: null,
  member: null,
  name: "",
};

test("only what differs is sent", () => {
  expect(changedSettings(BEFORE, BEFORE)).toEqual({});
  expect(changedSettings(BEFORE, { ...BEFORE, priority: 5 })).toEqual({ priority: 5 });
});

test("an emptied field removes the restriction", () => {
  expect(changedSettings(BEFORE, { ...BEFORE, models: [], limit: "" })).toEqual({
    allowed_models: null,
    monthly_limit_usd: null,
  });
});

test("a key has one scope", () => {
  const research = { ...BEFORE, team: "research" };
  expect(changedSettings(BEFORE, research)).toEqual({ team: "research" });
  expect(changedSettings(research, BEFORE)).toEqual({ team: null });
  expect(changedSettings(research, { ...BEFORE, member: "mem_1" })).toEqual({ member: "mem_1" });
  expect(changedSettings({ ...BEFORE, member: "mem_1" }, BEFORE)).toEqual({ member: null });
});

test("amounts stay exact", () => {
  expect(decimalDollars("50")).toBe("50");
  expect(decimalDollars("$1,200.10")).toBe("1200.1");
  expect(decimalDollars("0.000001")).toBe("0.000001");
  expect(decimalDollars("12.3456789")).toBeNull();
  expect(decimalDollars("a lot")).toBeNull();
});
