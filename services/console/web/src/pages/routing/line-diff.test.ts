import { describe, expect, it } from "vitest";
import { diffLines, fromUnified } from "./line-diff";

const marks = { same: " ", added: "+", removed: "-" };

function render(before: string, after: string): string[] {
  return diffLines(before, after).map(({ kind, text }) => marks[kind] + text);
}

describe("the difference of two texts", () => {
  it("marks what is only in one", () => {
    expect(render("a\nb\nc", "a\nx\nc\nd")).toEqual([" a", "-b", "+x", " c", "+d"]);
  });

  it("is nothing for equal texts, and everything for an empty one", () => {
    expect(diffLines("a\nb", "a\nb").every(({ kind }) => kind === "same")).toBe(true);
    expect(render("", "a")).toEqual(["+a"]);
    expect(render("a", "")).toEqual(["-a"]);
    expect(render("", "")).toEqual([]);
  });

  it("gives back both texts", () => {
    const before = "one\ntwo\nthree\nfour\ntwo";
    const after = "two\nthree\n\nfive\ntwo\none";
    const lines = diffLines(before, after);
    const side = (other: string) => lines.filter(({ kind }) => kind !== other).map(({ text }) => text);
    expect(side("added").join("\n")).toBe(before);
    expect(side("removed").join("\n")).toBe(after);
  });

  it("reads the server's form", () => {
    expect(fromUnified(["--- version 1", "+++ new rules", "@@ -1 +1 @@", " a", "-b", "+c"])).toEqual([
      { kind: "same", text: "a" },
      { kind: "removed", text: "b" },
      { kind: "added", text: "c" },
    ]);
  });
});
