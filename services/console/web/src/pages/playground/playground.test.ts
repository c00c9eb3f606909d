import { describe, expect, it } from "vitest";
import { draftFromText } from "./replay";
import { asCurl, asPython, chatBody, pythonLiteral, toolsProblem } from "./state";

const PARAMETERS = { maxTokens: 64, temperature: 20, json: true };

describe("the playground", () => {
  it("sends the conversation and the parameters", () => {
    const body = chatBody("echo", { system: "Be short", prompt: "Hi", tools: "" }, PARAMETERS);
    expect(body).toEqual({
      model: "echo",
      messages: [
        { role: "system", content: "Be short" },
        { role: "user", content: "Hi" },
      ],
      max_tokens: 64,
      temperature: 0.2,
      response_format: { type: "json_object" },
    });
  });

  it("leaves out what is not set", () => {
    const body = chatBody(
      "echo",
      { system: " ", prompt: "Hi", tools: "" },
      { maxTokens: 1, temperature: -1, json: false },
    );
    expect(Object.keys(body)).toEqual(["model", "messages", "max_tokens"]);
  });

  it.each([
    ["", null],
    ['[{"type":"function"}]', null],
    ["{}", "The tools must be a JSON list, as the OpenAI API takes it."],
    ["[", "This is no JSON."],
  ])("checks the tools %j", (tools, problem) => {
    expect(toolsProblem(tools)).toBe(problem);
  });

  it("escapes quotes for the shell", () => {
    expect(asCurl("http://h", { a: "it's" })).toContain(`"it'\\''s"`);
  });

  it("writes Python", () => {
    expect(pythonLiteral({ a: [true, null, 1.5, 'x"y'] })).toBe('{"a": [True, None, 1.5, "x\\"y"]}');
    expect(asPython("http://h", { model: "echo" })).toContain('    model="echo",');
  });
});

describe("a stored request", () => {
  it("becomes a draft", () => {
    const body = {
      messages: [
        { role: "system", content: "Be short" },
        { role: "user", content: "first" },
        { role: "user", content: [{ type: "text", text: "Hi " }, { type: "image_url" }, { text: "you" }] },
      ],
      tools: [{ type: "function" }],
    };
    const draft = draftFromText(JSON.stringify(body));
    expect(draft?.system).toBe("Be short");
    expect(draft?.prompt).toBe("Hi you");
    expect(JSON.parse(draft?.tools ?? "")).toEqual([{ type: "function" }]);
  });

  it.each(["{", "null", "[]", '{"messages":[null]}'])("that is odd is nothing or empty: %s", (text) => {
    expect(draftFromText(text)?.prompt ?? "").toBe("");
  });
});
