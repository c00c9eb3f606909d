import { describe, expect, it } from "vitest";
import { type CreditEntry, csvField, historyCsv, requestsOf } from "./history";

const entry: CreditEntry = {
  at: "2026-11-30T14:02:00Z",
  kind: "usage",
  credits: "-12.345",
  balance: "987.655",
  entry_id: "ent_1",
};

describe("the ledger of credits", () => {
  it("links the requests of a day", () => {
    const search = new URLSearchParams(requestsOf(entry) ?? "");
    expect(Object.fromEntries(search)).toEqual({
      since: "2026-11-30T00:00:00Z",
      until: "2026-12-01T00:00:00Z",
      key_source: "platform",
    });
    expect(requestsOf({ ...entry, kind: "grant" })).toBeNull();
  });

  it("is CSV without formulas, with amounts as they are", () => {
    expect(csvField("=1+1")).toBe("'=1+1");
    expect(csvField("-5", true)).toBe("-5");
    expect(csvField('a "b", c')).toBe('"a ""b"", c"');
    expect(historyCsv([{ ...entry, reason: "@home" }])).toBe(
      "at,kind,credits,balance,actor,reason,source,source_id,entry_id\r\n" +
        "2026-11-30T14:02:00Z,usage,-12.345,987.655,,'@home,,,ent_1\r\n",
    );
  });
});
