import { describe, expect, it } from "vitest";
import { chatEvents } from "./chat";

describe("the pieces of a streamed answer", () => {
  it("are text, reasoning, the end and the tokens", () => {
    const chunk = {
      choices: [{ delta: { reasoning_content: "hm", content: "Hi" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 5 },
    };
    expect([...chatEvents(JSON.stringify(chunk))]).toEqual([
      { kind: "reasoning", text: "hm" },
      { kind: "text", text: "Hi" },
      { kind: "finished", reason: "stop" },
      { kind: "usage", usage: { inputTokens: 3, outputTokens: 5 } },
    ]);
  });

  it("have calls of tools", () => {
    const chunk = {
      choices: [{ delta: { tool_calls: [{ function: { name: "add", arguments: '{"a":1}' } }] } }],
    };
    expect([...chatEvents(JSON.stringify(chunk))]).toEqual([{ kind: "tool", text: 'add {"a":1}' }]);
  });

  it.each(['{"choices":[]}', '{"choices":[{"delta":{"content":""}}]}', "{}"])(
    "may say nothing: %s",
    (data) => {
      expect([...chatEvents(data)]).toEqual([]);
    },
  );

  it("report an error of the provider, and what is no JSON", () => {
    expect(() => [...chatEvents('{"error":{"message":"overloaded","code":"overloaded"}}')]).toThrow(
      "overloaded",
    );
    expect(() => [...chatEvents("{")]).toThrow("no JSON");
  });
});
