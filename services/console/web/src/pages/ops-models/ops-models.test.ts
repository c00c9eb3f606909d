import { describe, expect, it } from "vitest";
import { parseModel } from "./model-json";
import { parsePrice, priceWords } from "./price";

describe("prices", () => {
  it.each([
    [{ prices: { input: "0.15", output: "0.6" } }, "input 0.15, output 0.6"],
    [{ base: "gpt-4o", factor: "0.9" }, "0.9 times gpt-4o"],
    [{ factor: "2" }, "2 times the list price"],
    [{ prices: {} }, "free"],
  ])("%j is %s", (price, words) => {
    expect(priceWords(price)).toBe(words);
  });

  it.each([
    ["", null],
    [" 0.15 ", "0.15"],
    ["-1", undefined],
    ["1e3", undefined],
    ["NaN", undefined],
  ])("%j is read as %s", (text, price) => {
    expect(parsePrice(text)).toBe(price);
  });
});

it.each([
  ["{", /no JSON/],
  ["[]", /JSON object/],
  ["null", /JSON object/],
])("refuses %s as an entry", (text, problem) => {
  expect(parseModel(text).problem).toMatch(problem);
});
