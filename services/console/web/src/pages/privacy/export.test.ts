import { expect, it } from "vitest";
import { isCompleteExport } from "./export";

it.each([
  ['{"kind":"tenant"}\n{"kind":"end","data":{}}\n', true],
  ['{"kind":"end"}', true],
  ['{"kind":"tenant"}\n{"kind":"en', false],
  ['{"kind":"request","data":{"kind":"end"}}\n', false],
  ["", false],
])("an export that ends with %s is complete: %s", (tail, complete) => {
  expect(isCompleteExport(tail)).toBe(complete);
});
