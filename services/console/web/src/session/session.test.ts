import { expect, it } from "vitest";
import { roleFor, type Sender } from "./session";

const OPERATOR = {
  actor: "usr_1",
  operator: true,
  memberships: [{ tenant: "acme", role: "viewer", member_id: "mem_1" }],
} as unknown as Sender;

it("an operator is a member of own tenants, and an operator in others", () => {
  expect(roleFor(OPERATOR, "acme")).toEqual({ role: "viewer", asOperator: false });
  expect(roleFor(OPERATOR, "globex")).toEqual({ role: "operator", asOperator: true });
  expect(roleFor(OPERATOR, null)).toEqual({ role: "operator", asOperator: true });
});

it.each(["acme/provider-keys", "..", "", "Acme", "a b"])("%j names no tenant", (name) => {
  expect(roleFor(OPERATOR, name)).toEqual({ role: null, asOperator: false });
});
