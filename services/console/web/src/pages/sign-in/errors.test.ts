import { expect, it } from "vitest";
import { signInError } from "./errors";

it.each(["__proto__", "constructor", "toString", "no such code", ""])("%j has a text", (code) => {
  expect(signInError(code)).toBe("Signing in failed. Try again.");
});

it("says nothing where nothing failed", () => {
  expect(signInError(null)).toBeNull();
});
