/** The state of the editor of rules: the form's rules and the text, kept in step. Pure. */

import { type Problem, type ReadRules, readRules } from "./rules-document";
import { formatRules, type Rule, type TextFormat } from "./rules-text";

export interface Editor {
  readonly format: TextFormat;
  readonly text: string;
  /** What the form shows: the rules of the text, or while that cannot be read the last ones that could. */
  readonly rules: readonly Rule[];
  readonly problems: readonly Problem[];
  /** Whether the form shows something else than the text says. */
  readonly outOfStep: boolean;
}

/** Return the state for rules that were read from the server. */
export function openEditor(rules: readonly Rule[], format: TextFormat = "yaml"): Editor {
  return { format, text: formatRules(rules, format), rules, problems: [], outOfStep: false };
}

/** Return the state after the text was changed. */
export function withText(editor: Editor, text: string): Editor {
  const read: ReadRules = readRules(text);
  return {
    ...editor,
    text,
    rules: read.rules ?? editor.rules,
    problems: read.problems,
    outOfStep: read.rules === null,
  };
}

/** Return the state after the form was changed. A rule that is not complete yet has a problem, and the text shows it as well. */
export function withRules(editor: Editor, rules: readonly Rule[]): Editor {
  const text = formatRules(rules, editor.format);
  const { problems } = readRules(text);
  return { ...editor, text, rules, problems, outOfStep: false };
}

/** Return the state in another format. A text that cannot be read stays as it is. */
export function withFormat(editor: Editor, format: TextFormat): Editor {
  return editor.outOfStep
    ? editor
    : { ...editor, format, ...pick(withRules({ ...editor, format }, editor.rules)) };
}

function pick({ text, problems }: Editor): Pick<Editor, "text" | "problems"> {
  return { text, problems };
}

/** Return whether the editor has other rules, or another text, than those that were opened. */
export function isChanged(editor: Editor, opened: readonly Rule[]): boolean {
  return editor.outOfStep || formatRules(editor.rules, "json") !== formatRules(opened, "json");
}

/** Return a list with one item at another place. */
export function moved<T>(items: readonly T[], from: number, to: number): T[] {
  const others = items.filter((_, index) => index !== from);
  const item = items[from];
  if (item === undefined) {
    return [...items];
  }
  const place = Math.min(Math.max(to, 0), others.length);
  return [...others.slice(0, place), item, ...others.slice(place)];
}

/** Return a list with one item replaced. */
export function replaced<T>(items: readonly T[], index: number, item: T): T[] {
  return items.map((each, at) => (at === index ? item : each));
}

/** Return a new rule with a name of its own. It stands before a rule for everything that is left. */
export function withNewRule(rules: readonly Rule[], model: string): Rule[] {
  const names = new Set(rules.map(({ name }) => name));
  let number = rules.length + 1;
  while (names.has(`rule-${number}`)) {
    number += 1;
  }
  const rule: Rule = { name: `rule-${number}`, when: {}, chain: [{ model }] };
  const last = rules.at(-1);
  return last?.default ? [...rules.slice(0, -1), rule, last] : [...rules, rule];
}
