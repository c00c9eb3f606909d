import { describe, expect, test } from "vitest";
import { checkAddress, checkField, checkFormat, guessProvider, originOf, type Provider } from "./key-format";

function provider(name: string, changes: Partial<Provider> = {}): Provider {
  return {
    name,
    title: name.toUpperCase(),
    base_url: `https://api.${name}.com/v1`,
    places: {},
    key_url: null,
    docs_url: null,
    key_prefixes: [],
    key_description: "an API key",
    key_optional: false,
    fields: [],
    test_model: null,
    health: null,
    ...changes,
  };
}

const OPENAI = provider("openai", { key_prefixes: ["sk-", "sk-proj-"] });
const ANTHROPIC = provider("anthropic", { key_prefixes: ["sk-ant-"] });
const DEEPSEEK = provider("deepseek", { key_prefixes: ["sk-"] });
const MISTRAL = provider("mistral");
const CUSTOM = provider("custom", { base_url: null });
const ALL = [OPENAI, ANTHROPIC, DEEPSEEK, MISTRAL, CUSTOM];

describe("guessing the provider", () => {
  test("takes the longest prefix, then the display order", () => {
    expect(guessProvider("sk-ant-abc", ALL)).toBe(ANTHROPIC);
    expect(guessProvider("sk-proj-abc", ALL)).toBe(OPENAI);
    expect(guessProvider("sk-abc", ALL)).toBe(OPENAI);
    expect(guessProvider("abcdef", ALL)).toBeNull();
  });
});

describe("the form of a key", () => {
  test("fits, or is of another provider", () => {
    expect(checkFormat("sk-abc", OPENAI, ALL)?.kind).toBe("ok");
    expect(checkFormat("sk-ant-abc", OPENAI, ALL)).toEqual({
      kind: "unusual",
      message: "This looks like a key of ANTHROPIC, not of OPENAI.",
    });
    expect(checkFormat("abc", OPENAI, ALL)?.kind).toBe("unusual");
    expect(checkFormat("abc", MISTRAL, ALL)?.kind).toBe("ok");
    expect(checkFormat("sk-ant-abc", CUSTOM, ALL)?.kind).toBe("ok");
    expect(checkFormat("", OPENAI, ALL)).toBeNull();
  });

  test.each([
    "a b",
    "sk-abc\n",
    "ключ",
    "kf_live_abc",
    "kf_operator_x",
    "-----BEGIN PRIVATE KEY-----",
    '{"type":"x"}',
  ])("%s is refused", (text) => {
    expect(checkFormat(text, OPENAI, ALL)?.kind).toBe("refused");
  });

  test("no finding repeats the key", () => {
    for (const key of ["kf_live_secretpart", "secretpart x", "sk-ant-secretpart"]) {
      expect(checkFormat(key, OPENAI, ALL)?.message).not.toContain("secretpart");
    }
  });
});

test("fields match their pattern as a whole", () => {
  const region = {
    name: "region",
    description: "the AWS region",
    example: "eu-central-1",
    pattern: "[a-z]{2}(?:-[a-z]+)+-[0-9]",
    required: true,
  };
  expect(checkField(region, "eu-central-1")).toBeNull();
  expect(checkField(region, "eu-central-1; rm")).toContain("the AWS region");
  expect(checkField(region, "")).toContain("Needed");
  expect(checkField({ ...region, required: false }, "")).toBeNull();
});

test("the origin is of the given address, else the gateway's, else the provider's", () => {
  const bedrock = provider("bedrock", { base_url: "https://bedrock-runtime.{region}.amazonaws.com" });
  expect(originOf(OPENAI, "", {}, {})).toBe("https://api.openai.com");
  expect(originOf(OPENAI, "", {}, { openai: "https://gateway.example.com:8443/v1" })).toBe(
    "https://gateway.example.com:8443",
  );
  expect(originOf(OPENAI, "https://LLM.example.com:443/v1", {}, {})).toBe("https://llm.example.com");
  expect(originOf(bedrock, "", { region: "eu-central-1" }, {})).toBe(
    "https://bedrock-runtime.eu-central-1.amazonaws.com",
  );
  const vertex = provider("vertex", {
    base_url: "https://{location}-aiplatform.googleapis.com/v1",
    places: { eu: "https://aiplatform.eu.rep.googleapis.com/v1" },
  });
  expect(originOf(vertex, "", { location: "eu" }, {})).toBe("https://aiplatform.eu.rep.googleapis.com");
  expect(originOf(vertex, "", { location: "europe-west4" }, {})).toBe(
    "https://europe-west4-aiplatform.googleapis.com",
  );
  expect(originOf(CUSTOM, "", {}, {})).toBeNull();
});

test("addresses of private networks are refused with the reason, unless the operator allows some", () => {
  for (const address of [
    "https://10.0.0.5/v1",
    "https://192.168.7.2/v1",
    "https://172.20.0.1/v1",
    "https://localhost/v1",
    "https://[::1]/v1",
    "https://169.254.169.254/latest",
  ]) {
    expect(checkAddress(address, false), address).toContain("private network");
    expect(checkAddress(address, true), address).toBeNull();
  }
  expect(checkAddress("http://llm.example.com/v1", false)).toContain("https");
  expect(checkAddress("https://llm.example.com:9000/v1", false)).toContain("9000");
  expect(checkAddress("https://llm.example.com/v1/chat/completions", true)).toContain("Leave out");
  expect(checkAddress("llm.example.com", true)).toContain("URL");
  expect(checkAddress("https://llm.example.com/v1", false)).toBeNull();
});
