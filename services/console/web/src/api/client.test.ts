import { afterEach, describe, expect, it, vi } from "vitest";
import { api, pathPart, scopedPath, sendRaw, setRequestScope } from "./client";

/** The client takes over `fetch` when it is loaded. */
const send = vi.hoisted(() => {
  const send = vi.fn(async () => new Response(null, { status: 204 }));
  vi.stubGlobal("fetch", send);
  return send;
});

const OPERATOR = { tenant: "acme", asOperator: true, csrfToken: "c" };

afterEach(() => {
  send.mockClear();
  setRequestScope({ tenant: null, asOperator: false, csrfToken: null });
});

describe("for an operator who acts for a tenant", () => {
  it("routes of tenants are those of that tenant", () => {
    expect(scopedPath("/api/v1/usage/summary", OPERATOR)).toBe("/api/v1/ops/tenants/acme/usage/summary");
  });

  it.each(["/auth/logout", "/auth/methods", "/api/v1/session", "/api/v1/ops/tenants"])(
    "%s stays as it is",
    (path) => {
      expect(scopedPath(path, OPERATOR)).toBe(path);
    },
  );
});

describe("an id from an address", () => {
  it.each(["x/content", "..", ".", "", "a\\b", "a\u0000b"])(
    "that leads to another route is refused: %j",
    (id) => {
      expect(() => pathPart(id)).toThrow("nothing of that name");
    },
  );

  it("is never sent as a path of its own", async () => {
    const asked = api.GET("/api/v1/requests/{request_id}", { params: { path: { request_id: "x/content" } } });
    await expect(asked).rejects.toMatchObject({ status: 404 });
    expect(send).not.toHaveBeenCalled();
  });
});

it("sends a request for the tenant for which it was decided", async () => {
  setRequestScope({ tenant: "other", asOperator: false, csrfToken: "c" });
  await sendRaw("DELETE", "/api/v1/provider-keys/key_1", {}, OPERATOR);
  expect(send).toHaveBeenCalledWith("/api/v1/ops/tenants/acme/provider-keys/key_1", expect.anything());
});
