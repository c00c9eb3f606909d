/** The text of rules, read strictly, with the line of everything that is wrong. Pure. */

import { isMap, isSeq, LineCounter, type Node, type ParsedNode, parseAllDocuments, visit } from "yaml";
import { checkRules, type Path } from "./rules-check";
import type { Rule } from "./rules-text";

export interface Problem {
  /** Counted from 1. */
  readonly line: number;
  readonly message: string;
  /** The index of the rule that it is about, and the path below it. */
  readonly rule: number | null;
  readonly path: Path;
}

export interface ReadRules {
  /** Null if the text cannot be read. */
  readonly rules: Rule[] | null;
  readonly problems: readonly Problem[];
}

/** Read a text, which is YAML or JSON, the latter being the former too. */
export function readRules(text: string): ReadRules {
  const { problems, root, lines } = parse(text);
  if (problems.length > 0 || root === null) {
    return { rules: null, problems };
  }
  const { rules, faults } = checkRules(root.toJSON());
  if (faults.length > 0) {
    const found = faults.map(({ path, message }) => problemAt(path, message, root, lines));
    return { rules: null, problems: found };
  }
  return { rules, problems: [] };
}

/** Return the problem for a path such as `rules[0].chain[1].model`, which the server names; line 1 if the text cannot be read. */
export function problemOfParam(text: string, param: string, message: string): Problem {
  const path = [...param.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map((match) =>
    match[1] === undefined ? (match[2] ?? "") : Number(match[1]),
  );
  const { root, lines } = parse(text);
  return root === null
    ? { line: 1, message, rule: null, path: [] }
    : problemAt(path[0] === "rules" ? path : ["rules", ...path], message, root, lines);
}

/** Return the line on which a rule begins, or 1. */
export function lineOfRule(text: string, name: string): number {
  const { root, lines } = parse(text);
  const rules = isMap(root) ? root.get("rules") : null;
  if (root === null || !isSeq(rules)) {
    return 1;
  }
  const found = rules.items.find((item) => isMap(item) && String(item.get("name")) === name);
  return found ? lineOf(found as Node, lines) : 1;
}

const BEGINNING = "begin the document with “rules:” and a list of rules";

interface ParsedDocument {
  readonly contents: unknown;
  readonly errors: readonly { readonly pos: readonly [number, number]; readonly message: string }[];
  readonly range: readonly [number, number, number] | null | undefined;
}

interface Parsed {
  readonly root: ParsedNode | null;
  readonly lines: LineCounter;
  readonly problems: Problem[];
}

function parse(text: string): Parsed {
  const lines = new LineCounter();
  const documents: readonly ParsedDocument[] = [
    ...parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true, strict: true, logLevel: "silent" }),
  ];
  const problems: Problem[] = [];
  const add = (offset: number, message: string) =>
    problems.push({ line: Math.max(lines.linePos(offset).line, 1), message, rule: null, path: [] });
  const [first, second] = documents;
  if (second) {
    add(second.range?.[0] ?? 0, "a file has one document only: remove “---”");
  }
  for (const error of first?.errors ?? []) {
    add(error.pos[0], error.message.split(" at line ")[0]?.split("\n")[0] ?? "this cannot be read");
  }
  if (first && problems.length === 0) {
    visit(first.contents as Node | null, {
      Alias: (_, node) => add(node.range?.[0] ?? 0, "aliases are not allowed: write the value out"),
      Node: (_, node) => {
        if ("anchor" in node && node.anchor) {
          add(node.range?.[0] ?? 0, "anchors are not allowed");
        } else if (node.tag) {
          add(node.range?.[0] ?? 0, "tags are not allowed");
        }
      },
    });
  }
  const root = (first?.contents as ParsedNode | null | undefined) ?? null;
  if (root === null && problems.length === 0) {
    add(0, BEGINNING);
  }
  return { root, lines, problems };
}

function problemAt(path: Path, message: string, root: ParsedNode, lines: LineCounter): Problem {
  let node: unknown = root;
  let at: Node = root;
  for (const part of path) {
    let next: unknown = null;
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => keyText(key) === String(part));
      if (pair) {
        at = pair.key as Node;
        next = pair.value;
      }
    } else if (isSeq(node) && typeof part === "number") {
      next = node.items[part] ?? null;
      at = (next as Node | null) ?? at;
    }
    if (next === null) {
      break;
    }
    node = next;
  }
  const [top, rule, ...rest] = path;
  const index = top === "rules" && typeof rule === "number" ? rule : null;
  return { line: lineOf(at, lines), message, rule: index, path: index === null ? [] : rest };
}

function keyText(key: unknown): string {
  return typeof key === "object" && key !== null && "value" in key ? String(key.value) : String(key);
}

function lineOf(node: Node, lines: LineCounter): number {
  return Math.max(lines.linePos(node.range?.[0] ?? 0).line, 1);
}
