import { describe, expect, it } from "vitest";
import { invitationState } from "./invitation-state";
import { isAddress, memberName } from "./roles";
import { teamChange } from "./team-change";

describe("members", () => {
  it("are named by name, else by address, else by id", () => {
    expect(memberName({ name: "Ann", email: "ann@example.com", member_id: "mem_1" })).toBe("Ann");
    expect(memberName({ name: null, email: "ann@example.com", member_id: "mem_1" })).toBe("ann@example.com");
    expect(memberName({ name: null, email: null, member_id: "mem_1" })).toBe("mem_1");
  });

  it.each([
    ["ann@example.com", true],
    ["ann+x@mail.example.co.uk", true],
    ["ann@example", false],
    ["@example.com", false],
    ["ann@@example.com", false],
    ["an n@example.com", false],
    ["änn@example.com", false],
    ["", false],
  ])("take %s as an address: %s", (text, valid) => {
    expect(isAddress(text)).toBe(valid);
  });
});

describe("an invitation", () => {
  const now = new Date("2026-11-30T12:00:00Z");
  const open = { accepted_at: null, revoked_at: null, expires_at: "2026-12-01T12:00:00Z" };
  it.each([
    [open, "open"],
    [{ ...open, expires_at: "2026-11-30T12:00:00Z" }, "expired"],
    [{ ...open, revoked_at: "2026-11-29T12:00:00Z" }, "revoked"],
    [{ ...open, accepted_at: "2026-11-29T12:00:00Z", expires_at: "2026-11-29T13:00:00Z" }, "accepted"],
  ])("%j is %s", (invitation, state) => {
    expect(invitationState(invitation, now)).toBe(state);
  });
});

it("changes a team by who joins and who leaves", () => {
  expect(teamChange(["a", "b"], ["b", "c"])).toEqual({ add: ["c"], remove: ["a"] });
});
