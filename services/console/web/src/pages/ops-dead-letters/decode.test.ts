import { expect, it } from "vitest";
import { decodeLetter } from "./decode";

it.each([
  [btoa('{"a":1}'), '{\n  "a": 1\n}'],
  [btoa("plain"), "plain"],
  [btoa("\xff\xfe"), btoa("\xff\xfe")],
  ["no base64!", "no base64!"],
])("shows %s", (base64, shown) => {
  expect(decodeLetter(base64)).toBe(shown);
});
