import { expect, it } from "vitest";
import { nameOfValue } from "@/pages/usage/names";
import { ownValue } from "./own-value";

it.each(["__proto__", "constructor", "toString"])(
  "%s is no value of a record that has none of that name",
  (name) => {
    expect(ownValue({ research: "a" }, name)).toBeUndefined();
    expect(nameOfValue({ dimension: "outcome", kind: "value", value: name })).toBe(name);
  },
);

it("a value is found by its name", () => {
  expect(ownValue({ research: "a" }, "research")).toBe("a");
  expect(ownValue(undefined, "research")).toBeUndefined();
});
