import { describe, expect, it } from "vitest";
import { actionWords, auditChanges } from "./changes";
import { auditQuery, fromLocalField, toLocalField } from "./filters";

describe("the changes of an entry", () => {
  it("have the values before and after", () => {
    expect(auditChanges({ role: "viewer → admin", label: "ci" })).toEqual([
      { field: "role", before: "viewer", after: "admin" },
      { field: "label", before: null, after: "ci" },
    ]);
  });

  it("keep later arrows in the new value", () => {
    expect(auditChanges({ name: "a → b → c" })[0]).toEqual({ field: "name", before: "a", after: "b → c" });
  });

  it("show values that are no text as JSON", () => {
    expect(auditChanges({ models: ["a"], n: 1 })[0]?.after).toBe('["a"]');
    expect(auditChanges(undefined)).toEqual([]);
  });
});

describe("the filters", () => {
  it("send only what is set", () => {
    expect(auditQuery({ actor: "", action: "key", target: "", since: null, until: null })).toEqual({
      action: "key",
    });
  });

  it("read and write the browser's date field", () => {
    const iso = fromLocalField("2026-11-30T14:02");
    expect(toLocalField(iso)).toBe("2026-11-30T14:02");
    expect(fromLocalField("")).toBeNull();
    expect(fromLocalField("nonsense")).toBeNull();
  });

  it("say actions in words", () => {
    expect(actionWords("provider_key.add")).toBe("provider key: add");
    expect(actionWords("login")).toBe("login");
  });
});
