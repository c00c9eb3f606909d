import { describe, expect, it } from "vitest";
import type { Schemas } from "@/api/client";
import { formOf, readForm, type TopUpForm } from "./top-up-form";

const FORM: TopUpForm = { enabled: true, threshold: "5,000", price: "50", ceiling: "$200", consent: true };

describe("the form of the automatic top-up", () => {
  it("becomes terms with whole cents", () => {
    expect(readForm(FORM, 3)).toEqual({
      body: {
        enabled: true,
        threshold: "5000",
        price_usd: "50.00",
        monthly_ceiling_usd: "200.00",
        consent: true,
        revision: 3,
      },
    });
  });

  it("names no revision before there is one", () => {
    expect(readForm(FORM, 0)).toMatchObject({ body: { revision: null } });
  });

  it.each([
    [{ threshold: "many" }, "threshold"],
    [{ threshold: "-1" }, "threshold"],
    [{ price: "0" }, "price"],
    [{ price: "10.005" }, "price"],
    [{ ceiling: "49.99" }, "ceiling"],
    [{ ceiling: "" }, "ceiling"],
    [{ consent: false }, "consent"],
  ] as const)("refuses %o", (changes, field) => {
    const read = readForm({ ...FORM, ...changes }, 1);
    expect("errors" in read && Object.keys(read.errors)).toEqual([field]);
  });

  it("needs no consent to be switched off", () => {
    expect(readForm({ ...FORM, enabled: false, consent: false }, 1)).toHaveProperty("body");
  });

  it("proposes terms before any are saved, and asks for consent anew with each change", () => {
    const fresh = { revision: 0, state: "off" } as Schemas["TopUp"];
    expect(formOf(fresh)).toMatchObject({ enabled: false, threshold: "5000", price: "50", ceiling: "200" });
    const saved = {
      revision: 2,
      enabled: true,
      threshold: "100",
      price_usd: "10",
      monthly_ceiling_usd: "30",
    } as Schemas["TopUp"];
    expect(formOf(saved)).toEqual({
      enabled: true,
      threshold: "100",
      price: "10",
      ceiling: "30",
      consent: false,
    });
  });
});
