import { expect, test } from "vitest";
import { type Language, snippetOf } from "./snippets";

const VALUES = {
  baseUrl: "https://gateway.example.com/v1",
  token: "kf_live_abc",
  model: 'it\'s "new" $(reboot)',
  tenant: "acme",
  consoleUrl: "https://console.example.com",
};

test("nothing of a model's name is run by a shell", () => {
  const text = snippetOf("curl", VALUES);
  expect(text).toContain(`it'"'"'s`);
  // Outside of single quotes there is neither a substitution nor a variable.
  expect(text.replaceAll(`"'"`, "").replaceAll(/'[^']*'/g, "")).not.toMatch(/[$`]/);
});

test("the base URL and the token are in every program that needs them", () => {
  const languages: Language[] = ["curl", "python", "typescript", "langchain", "env"];
  for (const language of languages) {
    const text = snippetOf(language, VALUES);
    expect(text, language).toContain("https://gateway.example.com/v1");
    expect(text, language).toContain("kf_live_abc");
  }
});

test("a model's name cannot end a string of a program", () => {
  expect(snippetOf("python", VALUES)).toContain('model="it\'s \\"new\\" $(reboot)"');
});
