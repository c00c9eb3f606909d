/** What the playground sends: the same conversation to one to three models. */

import { integer, optionOf, text, texts } from "@/url/search";

export const MOST_MODELS = 3;
export const FORMATS = ["text", "json"] as const;

/** The prompt is not in the address: it may be confidential. */
export const PLAYGROUND_SEARCH = {
  model: texts(/^[\x21-\x7e]{1,200}$/, MOST_MODELS),
  request: text(/^(req_[0-9a-zA-Z]{1,60})?$/),
  max: integer(512, 1, 1_000_000),
  temperature: integer(-1, -1, 200),
  format: optionOf(["json"]),
};

export interface Draft {
  readonly system: string;
  readonly prompt: string;
  /** JSON of the tools; empty for none. */
  readonly tools: string;
}

export interface Parameters {
  readonly maxTokens: number;
  /** In hundredths; -1 leaves it to the model. */
  readonly temperature: number;
  readonly json: boolean;
}

/** Return the body of a chat request. Raises SyntaxError for tools that are no JSON, TypeError for JSON that is no list. */
export function chatBody(model: string, draft: Draft, parameters: Parameters): Record<string, unknown> {
  const messages = [
    ...(draft.system.trim() ? [{ role: "system", content: draft.system }] : []),
    { role: "user", content: draft.prompt },
  ];
  const body: Record<string, unknown> = { model, messages, max_tokens: parameters.maxTokens };
  if (parameters.temperature >= 0) {
    body.temperature = parameters.temperature / 100;
  }
  if (parameters.json) {
    body.response_format = { type: "json_object" };
  }
  if (draft.tools.trim()) {
    const tools: unknown = JSON.parse(draft.tools);
    if (!Array.isArray(tools)) {
      throw new TypeError("The tools must be a JSON list, as the OpenAI API takes it.");
    }
    body.tools = tools;
  }
  return body;
}

/** Return what is wrong with the tools; null if nothing is. */
export function toolsProblem(tools: string): string | null {
  try {
    chatBody("any", { system: "", prompt: "", tools }, { maxTokens: 1, temperature: -1, json: false });
    return null;
  } catch (error) {
    return error instanceof TypeError ? error.message : "This is no JSON.";
  }
}

/** Return a request as a curl command, with the token as a variable. */
export function asCurl(apiUrl: string, body: Record<string, unknown>): string {
  const json = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl ${apiUrl}/v1/chat/completions \\
  -H "Authorization: Bearer $KEYFERRY_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '${json}'`;
}

/** Return a request as Python for the OpenAI SDK. */
export function asPython(apiUrl: string, body: Record<string, unknown>): string {
  const fields = Object.entries(body)
    .map(([name, value]) => `    ${name}=${pythonLiteral(value)},`)
    .join("\n");
  return `import os

from openai import OpenAI

client = OpenAI(base_url="${apiUrl}/v1", api_key=os.environ["KEYFERRY_TOKEN"])
answer = client.chat.completions.create(
${fields}
)
print(answer.choices[0].message.content)`;
}

/** Return a JSON value as a Python literal. */
export function pythonLiteral(value: unknown): string {
  if (value === null || value === undefined) {
    return "None";
  }
  if (typeof value === "boolean") {
    return value ? "True" : "False";
  }
  if (Array.isArray(value)) {
    return `[${value.map(pythonLiteral).join(", ")}]`;
  }
  if (typeof value === "object") {
    const fields = Object.entries(value).map(
      ([name, each]) => `${JSON.stringify(name)}: ${pythonLiteral(each)}`,
    );
    return `{${fields.join(", ")}}`;
  }
  // JSON's strings and numbers are Python's, too: JSON escapes lone surrogates since ES2019.
  return JSON.stringify(value);
}
