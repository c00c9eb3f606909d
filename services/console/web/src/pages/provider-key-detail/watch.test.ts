import { expect, test } from "vitest";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { secondsLeft, verdictOf, watchesRotation } from "./watch";

const NOW = new Date("2026-11-30T12:00:00Z");

function rotated(changes: Partial<ProviderKey>): ProviderKey {
  return {
    rotated_at: "2026-11-30T11:55:00Z",
    revert_until: "2026-12-07T11:55:00Z",
    ...changes,
  } as ProviderKey;
}

test("a rotation is watched for ten minutes, while it can be reverted", () => {
  expect(secondsLeft(rotated({}), NOW)).toBe(300);
  expect(watchesRotation(rotated({}), NOW)).toBe(true);
  expect(watchesRotation(rotated({ rotated_at: "2026-11-30T11:49:59Z" }), NOW)).toBe(false);
  expect(watchesRotation(rotated({ revert_until: null }), NOW)).toBe(false);
  expect(watchesRotation(rotated({ rotated_at: null }), NOW)).toBe(false);
});

test("the error rate is compared with the hour before", () => {
  expect(verdictOf({ total: 0, failed: 0 }, { total: 5, failed: 0 }).kind).toBe("neutral");
  expect(verdictOf({ total: 20, failed: 0 }, { total: 5, failed: 1 }).kind).toBe("ok");
  expect(verdictOf({ total: 10, failed: 1 }, { total: 10, failed: 2 }).kind).toBe("warning");
  expect(verdictOf({ total: 10, failed: 5 }, { total: 10, failed: 1 })).toEqual({
    kind: "error",
    text: "5 errors in 10 requests (50 %) with the new key, 10 % in the hour before.",
  });
});
