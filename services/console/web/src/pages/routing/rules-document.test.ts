import { describe, expect, it } from "vitest";
import { lineOfRule, problemOfParam, readRules } from "./rules-document";
import { formatRules } from "./rules-text";

const TEXT = `rules:
  - name: review-by-claude
    when:
      operation: [code-review, security-review]
    chain:
      - model: claude-sonnet-4-5
      - power_level: precision
  - name: summaries-canary
    when:
      operation: summarize
      tag: [team=search]
    chain:
      - split:
          - {model: gpt-5, weight: 90}
          - {model: gpt-5-mini, weight: 10}
    fallback: false
  - name: rest
    default: true
    chain:
      - model: default`;

describe("the text of rules", () => {
  it("is written as the command line writes it", () => {
    const { rules } = readRules(TEXT);
    expect(formatRules(rules ?? [], "yaml")).toBe(`rules:
  - name: review-by-claude
    when:
      operation: [code-review, security-review]
    chain:
      - model: claude-sonnet-4-5
      - power_level: precision
  - name: summaries-canary
    when:
      operation: [summarize]
      tag: ["team=search"]
    chain:
      - split:
          - model: gpt-5
            weight: 90
          - model: gpt-5-mini
            weight: 10
    fallback: false
  - name: rest
    chain:
      - model: default
    default: true`);
    expect(formatRules([], "yaml")).toBe("rules: []");
  });

  it("says the same in both formats", () => {
    const { rules } = readRules(TEXT);
    for (const format of ["yaml", "json"] as const) {
      const again = readRules(formatRules(rules ?? [], format));
      expect(again.problems).toEqual([]);
      expect(formatRules(again.rules ?? [], "json")).toBe(formatRules(rules ?? [], "json"));
    }
  });

  it("quotes what YAML would read as something else", () => {
    const text = formatRules(
      [{ name: "a", description: "yes: # no", when: { tag: ["on", "1.0"] }, chain: [{ model: "n" }] }],
      "yaml",
    );
    expect(readRules(text).rules?.[0]).toEqual({
      name: "a",
      description: "yes: # no",
      when: { tag: ["on", "1.0"] },
      chain: [{ model: "n" }],
    });
  });

  it.each([
    ["rules:\n  - name: a\n    chian:\n      - model: x", 3, "no field"],
    ["rules:\n  - name: A b\n    chain:\n      - model: x", 2, "a-z"],
    ["rules:\n  - name: a\n    chain: []", 3, "at least one step"],
    ["rules:\n  - name: a\n    chain:\n      - model: x\n        power_level: eco", 4, "exactly one"],
    ["rules:\n  - name: a\n    chain:\n      - power_level: cheap", 4, "eco, balanced"],
    [
      "rules:\n  - name: a\n    when: {kind: [chat, audio]}\n    chain:\n      - model: x",
      3,
      "chat, embedding",
    ],
    [
      "rules:\n  - name: a\n    chain:\n      - split:\n          - {model: x, weight: 0}\n          - {model: y, weight: 1}",
      5,
      "whole number",
    ],
    [
      "rules:\n  - name: a\n    chain:\n      - provider: azure\n        power_level: eco",
      4,
      "beside a model",
    ],
    ["rules:\n  - name: a\n    chain: [{model: x}]\n  - name: a\n    chain: [{model: y}]", 4, "another rule"],
    ["rules:\n  - name: a\n    name: b\n    chain: [{model: x}]", 3, "unique"],
    ["rules:\n  - &x\n    name: a\n    chain: [{model: x}]", 3, "anchors"],
    ["rules: !!seq []", 1, "tags"],
    ["rules: []\n---\nrules: []", 2, "one document"],
    ["rules:\n  - name: [a", 2, ""],
    ["", 1, "rules:"],
    ["- a", 1, "rules:"],
    ["rules: 5", 1, "rules:"],
    ["rules: []\nother: 1", 2, "no field"],
  ])("is refused with the line: %j", (text, line, message) => {
    const { rules, problems } = readRules(text);
    expect(rules).toBeNull();
    expect(problems[0]?.line).toBe(line);
    expect(problems[0]?.message).toContain(message);
  });

  it("has the rule and the field of a problem", () => {
    const { problems } = readRules("rules:\n  - name: a\n    chain:\n      - model: ''");
    expect(problems[0]).toMatchObject({ rule: 0, path: ["chain", 0, "model"] });
  });

  it("finds what the server names", () => {
    expect(problemOfParam(TEXT, "rules[1].chain[0].split[1].model", "no").line).toBe(15);
    expect(problemOfParam(TEXT, "rules[1].when.tag[0]", "no").line).toBe(11);
    expect(problemOfParam("", "rules[1]", "no").line).toBe(1);
    expect(lineOfRule(TEXT, "summaries-canary")).toBe(8);
    expect(lineOfRule(TEXT, "none")).toBe(1);
  });
});
