import { describe, expect, it } from "vitest";
import { bodyOf, change, differing, inWords, positionOf, shown, splitFaults, tokensAt, unsent } from "./edit";

const SAVED = { temperature: 0.7, fallback_models: ["a", "b"], eu_only: null };

describe("edits of preferences", () => {
  it("are only what differs from what is saved", () => {
    const edits = change({}, SAVED, "temperature", 0.2);
    expect(edits).toEqual({ temperature: 0.2 });
    expect(change(edits, SAVED, "temperature", 0.7)).toEqual({});
    expect(change({}, SAVED, "eu_only", null)).toEqual({});
    expect(change({}, SAVED, "fallback_models", ["a", "b"])).toEqual({});
    expect(change({}, SAVED, "fallback_models", ["b", "a"])).toEqual({ fallback_models: ["b", "a"] });
  });

  it("take a value out of the scope", () => {
    const edits = change({}, SAVED, "temperature", null);
    expect(shown(edits, SAVED, "temperature")).toBeNull();
    expect(bodyOf(edits, SAVED)).toEqual({ fallback_models: ["a", "b"] });
    expect(bodyOf(change({}, { mode_by_operation: { a: "byok" } }, "mode_by_operation", {}), {})).toEqual({});
  });

  it("keep an empty list, which means none, and false", () => {
    expect(bodyOf(change({}, SAVED, "fallback_models", []), SAVED).fallback_models).toEqual([]);
    expect(bodyOf(change({}, SAVED, "eu_only", false), SAVED).eu_only).toBe(false);
  });

  it("stay if they were made while others were being saved", () => {
    const sent = { temperature: 0.2, fallback_models: ["a"] };
    expect(unsent(sent, sent)).toEqual({});
    expect(unsent({ temperature: 0.3, fallback_models: ["a"], eu_only: true }, sent)).toEqual({
      temperature: 0.3,
      eu_only: true,
    });
  });

  it("keep what somebody else has saved meanwhile", () => {
    const edits = change({}, SAVED, "temperature", 0.2);
    const theirs = { temperature: 0.9, max_tokens: 500 };
    expect(differing(SAVED, theirs)).toEqual(["fallback_models", "max_tokens", "temperature"]);
    expect(bodyOf(edits, theirs)).toEqual({ temperature: 0.2, max_tokens: 500 });
  });

  it("see no difference in the order of operations", () => {
    expect(
      differing({ model_by_operation: { a: "x", b: "y" } }, { model_by_operation: { b: "y", a: "x" } }),
    ).toEqual([]);
  });
});

describe("refusals", () => {
  const names = ["default_model", "max_tokens", "mode_by_operation", "fallback_models"];

  it("are told apart by preference", () => {
    const { byName, rest } = splitFaults(
      "nothing was saved: default_model: gpt-4o has no offering; these have one: a, b; max_tokens: 900 is more than 500",
      names,
    );
    expect(byName.get("default_model")).toBe("gpt-4o has no offering; these have one: a, b");
    expect(byName.get("max_tokens")).toBe("900 is more than 500");
    expect(rest).toBe("");
  });

  it("name the operation and the place in a list", () => {
    const { byName } = splitFaults(
      "mode_by_operation.research: no key; fallback_models[2]: too long; fallback_models: a is named twice",
      names,
    );
    expect(byName.get("mode_by_operation")).toBe("research: no key");
    expect(byName.get("fallback_models")).toBe("[2]: too long; a is named twice");
  });

  it("may be about nothing in particular", () => {
    const { byName, rest } = splitFaults("the router does not answer; note: try again", names);
    expect(byName.size).toBe(0);
    expect(rest).toBe("the router does not answer; note: try again");
  });
});

describe("values", () => {
  it.each([
    [null, "not set"],
    [[], "not set"],
    [false, "off"],
    [0, "0"],
    [["a", "b"], "a, b"],
    [{ research: "byok" }, "research: byok"],
  ])("%j is %s", (value, words) => {
    expect(inWords(value)).toBe(words);
  });

  it("has a slider from the least to the most", () => {
    expect(tokensAt(0)).toBe(100);
    expect(tokensAt(100)).toBe(128_000);
    for (const tokens of [100, 500, 2000, 16_000, 128_000]) {
      expect(Math.abs(tokensAt(positionOf(tokens)) - tokens) / tokens).toBeLessThan(0.05);
    }
  });
});
