import { describe, expect, it } from "vitest";
import { isChanged, moved, openEditor, withFormat, withNewRule, withRules, withText } from "./editor";

const RULES = [
  { name: "a", when: { operation: ["sum"] }, chain: [{ model: "x" }] },
  { name: "rest", default: true, chain: [{ model: "default" }] },
];

describe("the editor of rules", () => {
  it("keeps the text in step with the form", () => {
    const editor = withRules(openEditor(RULES), [{ name: "b", chain: [{ model: "z" }] }]);
    expect(editor.text).toBe("rules:\n  - name: b\n    chain:\n      - model: z");
    expect(isChanged(editor, RULES)).toBe(true);
  });

  it("keeps the form in step with the text", () => {
    const opened = openEditor(RULES);
    const editor = withText(opened, opened.text.replace("model: x", "model: z"));
    expect(editor.rules[0]?.chain).toEqual([{ model: "z" }]);
    expect(isChanged(editor, RULES)).toBe(true);
    expect(isChanged(withText(editor, opened.text), RULES)).toBe(false);
  });

  it("is not changed by the layout of the text", () => {
    expect(isChanged(withText(openEditor(RULES), `# note\n${openEditor(RULES).text}\n`), RULES)).toBe(false);
  });

  it("keeps a text that cannot be read, and the last rules", () => {
    const editor = withText(openEditor(RULES), "rules: [");
    expect(editor).toMatchObject({ text: "rules: [", rules: RULES, outOfStep: true });
    expect(withFormat(editor, "json").text).toBe("rules: [");
    expect(isChanged(editor, RULES)).toBe(true);
  });

  it("says what the form still needs", () => {
    const editor = withRules(openEditor(RULES), [{ name: "b", chain: [] }]);
    expect(editor.problems[0]).toMatchObject({ rule: 0, path: ["chain"] });
    expect(editor.outOfStep).toBe(false);
  });

  it("changes the format", () => {
    const editor = withFormat(openEditor(RULES), "json");
    expect(JSON.parse(editor.text).rules).toHaveLength(2);
    expect(withFormat(editor, "yaml").text).toBe(openEditor(RULES).text);
  });

  it("puts a new rule before the one for the rest, with a name of its own", () => {
    const rules = withNewRule(withNewRule(RULES, "m"), "m");
    expect(rules.map(({ name }) => name)).toEqual(["a", "rule-3", "rule-4", "rest"]);
    expect(withNewRule([{ name: "rule-2", chain: [] }], "m").map(({ name }) => name)).toEqual([
      "rule-2",
      "rule-3",
    ]);
  });
});

describe("moving", () => {
  it.each([
    [0, 2, ["b", "c", "a"]],
    [2, 0, ["c", "a", "b"]],
    [1, 1, ["a", "b", "c"]],
    [0, 9, ["b", "c", "a"]],
    [0, -1, ["a", "b", "c"]],
    [7, 0, ["a", "b", "c"]],
  ])("puts item %i at place %i", (from, to, expected) => {
    expect(moved(["a", "b", "c"], from, to)).toEqual(expected);
  });
});
