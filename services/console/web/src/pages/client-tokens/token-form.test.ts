import { expect, test } from "vitest";
import { createBody, EMPTY_TOKEN, updateBody } from "./token-form";

test("an empty form limits nothing", () => {
  expect(createBody({ ...EMPTY_TOKEN, label: " app " })).toEqual({
    label: "app",
    expires_at: null,
    allowed_models: null,
    allowed_operations: null,
    allowed_apis: null,
    allowed_origins: null,
    limits: null,
    team: null,
    member: null,
  });
});

test("only changes are sent", () => {
  const before = { ...EMPTY_TOKEN, label: "app", models: ["gpt-4o"], rpm: 20 };
  expect(updateBody(before, before)).toEqual({});
  expect(updateBody(before, { ...before, label: "batch" })).toEqual({ label: "batch" });
});

test("an emptied list and limit take the restriction away", () => {
  const before = { ...EMPTY_TOKEN, label: "app", models: ["gpt-4o"], rpm: 20, concurrency: 2 };
  expect(updateBody(before, { ...before, models: [], rpm: null })).toEqual({
    allowed_models: null,
    limits: { rpm: "default" },
  });
});
