import { expect, it } from "vitest";
import { parseSearch } from "./parse-search";

it("has all values of a parameter", () => {
  expect(parseSearch("?a=1&b=2&a=3")).toEqual({ a: ["1", "3"], b: ["2"] });
});

it.each(["constructor", "toString", "__proto__"])("takes %s as any other name", (name) => {
  expect(Object.entries(parseSearch(`?${name}=1`))).toEqual([[name, ["1"]]]);
});
