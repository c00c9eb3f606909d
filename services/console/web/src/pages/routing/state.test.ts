import { describe, expect, it } from "vitest";
import { baseOf, changeSince } from "./state";

const rules = (model: string) => ({ rules: [{ name: "a", chain: [{ model }] }] });
const version = (number: number, model = "x") => ({
  tenant: "acme",
  version: number,
  actor: "usr_ann",
  published_at: "2026-11-30T12:00:00Z",
  rule_set: rules(model),
});
const draft = (revision: number, model = "y") => ({
  tenant: "acme",
  revision,
  actor: "usr_bob",
  saved_at: "2026-11-30T12:05:00Z",
  rule_set: rules(model),
});
const loaded = (published: number, revision = 0) => ({
  tenant: "acme",
  published,
  version: published === 0 ? null : version(published),
  draft: revision === 0 ? null : draft(revision),
});

describe("the beginning of an editor", () => {
  it("is the draft, else the published version, else nothing", () => {
    expect(baseOf(loaded(7, 3)).rules[0]?.chain).toEqual([{ model: "y" }]);
    expect(baseOf(loaded(7)).rules[0]?.chain).toEqual([{ model: "x" }]);
    expect(baseOf(loaded(0))).toMatchObject({ rules: [], revision: 0, published: 0 });
  });
});

describe("what others change", () => {
  it("is a new version or another draft", () => {
    const base = baseOf(loaded(7, 3));
    expect(changeSince(base, loaded(7, 3))).toBeNull();
    expect(changeSince(base, loaded(8, 3))).toMatchObject({ kind: "published", name: "version 8" });
    expect(changeSince(base, loaded(7, 4))).toMatchObject({ kind: "draft", actor: "usr_bob" });
  });

  it("is not what was read before this editor saved", () => {
    const base = { ...baseOf(loaded(7, 3)), revision: 4 };
    expect(changeSince(base, loaded(7, 3))).toBeNull();
    expect(changeSince(base, loaded(7))).toBeNull();
  });
});
