import { expect, test } from "vitest";
import { consequence } from "./impact";

const USED = { requests: 1240, operations: 3 };

test("an unused key has no consequence", () => {
  expect(consequence({ requests: 0, operations: 0 }, 0, "own", "OpenAI")).toBe(
    "No request used this key in the last 7 days.",
  );
});

test("the last key of a tenant that uses only its own makes requests fail", () => {
  expect(consequence(USED, 0, "own", "OpenAI")).toBe(
    "3 operations and 1,240 requests in 7 days use this key. They will fail: it is your last usable key for OpenAI.",
  );
});

test("other keys, or platform credits, take over", () => {
  expect(consequence(USED, 1, "own", "OpenAI")).toContain("1 other key for OpenAI will pay");
  expect(consequence(USED, 0, "own_then_platform", "OpenAI")).toContain("platform credits");
});
