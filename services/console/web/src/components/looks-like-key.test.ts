import { expect, test } from "vitest";
import { looksLikeKey } from "./looks-like-key";

test.each([
  "sk-proj-abcdefghijklmnop",
  "sk-ant-api03-abcdefghijkl",
  "AIzaSyA1234567890123",
  " kf_live_abcdefghijklmnopqrst",
  "0123456789abcdef0123456789abcdef",
])("%s looks like a secret", (text) => {
  expect(looksLikeKey(text)).toBe(true);
});

test.each([
  "production",
  "sk",
  "A9f2",
  "0123456789abcdef",
  "tok_00000000000000000000000001",
  "team for the invoices of the north",
])("%s does not", (text) => {
  expect(looksLikeKey(text)).toBe(false);
});
