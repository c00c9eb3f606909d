import { describe, expect, it } from "vitest";
import { flag, integer, oneOf, optionOf, readSearch, text, texts, time, writeSearch } from "./search";

const SPEC = {
  range: oneOf(["24h", "7d", "30d"], "30d"),
  status: optionOf(["ok", "error"]),
  q: text(),
  provider: texts(/^[a-z-]+$/),
  page: integer(1, 1, 100),
  compare: flag(),
  from: time(),
};

describe("the state of a page in its URL", () => {
  it("has defaults for what is missing, and leaves them out", () => {
    const { values, dropped } = readSearch(SPEC, "");
    expect(dropped).toEqual([]);
    expect(values.range).toBe("30d");
    expect(writeSearch(SPEC, values)).toBe("");
  });

  it("is read back as it was written", () => {
    const values = {
      range: "7d",
      status: "error",
      q: "a&b=c #?",
      provider: ["openai", "mistral"],
      page: 3,
      compare: true,
      from: "2026-10-01T00:00Z",
    } as const;
    const search = writeSearch(SPEC, values);
    expect(search).toContain("provider=openai&provider=mistral");
    expect(readSearch(SPEC, search)).toEqual({ values, dropped: [] });
  });

  it.each([
    ["range=1y", "range"],
    ["status=", "status"],
    ["q=%00", "q"],
    ["q=%0d%0aSet-Cookie", "q"],
    [`q=${"x".repeat(401)}`, "q"],
    ["provider=OpenAI", "provider"],
    ["provider=openai&provider=<b>", "provider"],
    ["page=0", "page"],
    ["page=1e9", "page"],
    ["page=99999999999999999999", "page"],
    ["compare=yes", "compare"],
    ["from=yesterday", "from"],
    ["from=2026-13-45T00:00Z", "from"],
    ["unknown=1", "unknown"],
    ["__proto__=1", "__proto__"],
  ])("drops and reports %s", (search, name) => {
    const { values, dropped } = readSearch(SPEC, search);
    expect(dropped).toEqual([name]);
    expect(writeSearch(SPEC, values)).toBe("");
  });

  it("drops repeated values only once", () => {
    expect(readSearch(SPEC, "provider=openai&provider=openai").values.provider).toEqual(["openai"]);
  });
});
