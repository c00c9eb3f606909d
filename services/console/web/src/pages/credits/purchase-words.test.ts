import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { creditsFor, noticeOf, type PurchaseState, pollAfter, readAmount } from "./purchase-words";

const BOUNDS = { from_usd: "5", to_usd: "5000" };

function purchase(state: PurchaseState, reason: string | null = null): Schemas["Purchase"] {
  return {
    purchase: "pur_1",
    tenant: "acme",
    kind: "checkout",
    package: "usd-10",
    price_usd: "10",
    currency: "usd",
    credits: "10000",
    state,
    reason,
    created_at: "2026-11-30T12:00:00Z",
    actor: "mem_1",
  } as Schemas["Purchase"];
}

describe("noticeOf", () => {
  it.each([
    ["credited", "Payment received", false],
    ["paid", "Payment received, adding credits", true],
    ["processing", "The payment is on its way", true],
    ["open", "Waiting for Stripe", true],
    ["opening", "Waiting for Stripe", true],
    ["expired", "The payment page has expired", false],
    ["failed", "The payment failed", false],
    ["cancelled", "The payment was cancelled", false],
  ] as const)("says what %s means", (state, title, waiting) => {
    expect(noticeOf(purchase(state), false)).toMatchObject({ title, waiting });
    expect(pollAfter(purchase(state), false)).toBe(waiting ? 10_000 : false);
  });

  it("says why a payment failed, and that nothing was charged", () => {
    const { text } = noticeOf(purchase("failed", "The card has expired."), false);
    expect(text).toBe("The card has expired. Nothing was charged.");
  });

  it("does not wait for a payment that somebody has left", () => {
    expect(noticeOf(purchase("open"), true).title).toBe("You left the payment page");
    expect(pollAfter(purchase("open"), true)).toBe(false);
  });

  it("believes Stripe more than the address: a payment counts also for somebody who left", () => {
    expect(noticeOf(purchase("credited"), true).kind).toBe("ok");
  });
});

describe("readAmount", () => {
  it.each([
    ["25", "25.00"],
    ["12.5", "12.50"],
    ["5", "5.00"],
    ["5000", "5000.00"],
  ])("reads %s", (typed, amount) => {
    expect(readAmount(typed, BOUNDS)).toEqual({ amount });
  });

  it.each(["", "x", "-5", "12.345", "1e3"])("refuses %s", (typed) => {
    expect(readAmount(typed, BOUNDS)).toEqual({
      problem: "Dollars with at most two places, such as 25 or 12.50",
    });
  });

  it.each(["4.99", "5000.01", "0"])("refuses %s, which is out of bounds", (typed) => {
    expect(readAmount(typed, BOUNDS)).toEqual({ problem: "From $5 to $5000" });
  });

  it("says what an amount buys", () => {
    expect(creditsFor("12.50")).toBe("12,500");
  });
});
