import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { setRequestScope } from "./client";
import { pageToken, revokePageToken } from "./page-token";

type Answer = (input: Request | string, init?: RequestInit) => Response;

/** The client takes over `fetch` when it is loaded. */
const server = vi.hoisted(() => {
  const state: { answer: Answer } = { answer: () => Response.error() };
  vi.stubGlobal("fetch", async (input: Request | string, init?: RequestInit) => state.answer(input, init));
  return state;
});

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly tenant: string | null;
}

const sent: Sent[] = [];

function respond(input: Request | string, init?: RequestInit): Response {
  const request = new Request(
    new URL(input instanceof Request ? input.url : input, "http://console.test"),
    init,
  );
  const { method, headers } = input instanceof Request ? input : request;
  sent.push({ method, path: new URL(request.url).pathname, tenant: headers.get("x-keyferry-tenant") });
  const number = sent.filter((each) => each.method === "POST").length;
  return method === "POST"
    ? Response.json({ token_id: `tok_${number}`, token: `secret ${number}` }, { status: 201 })
    : Response.json({});
}

function signIn(tenant: string, csrfToken: string) {
  setRequestScope({ tenant, asOperator: false, csrfToken });
}

beforeEach(() => {
  sent.length = 0;
  server.answer = respond;
  signIn("acme", "one");
});

afterEach(async () => {
  await revokePageToken();
});

it("makes one token for requests that are sent at the same time", async () => {
  const tokens = await Promise.all([pageToken(), pageToken(), pageToken()]);
  expect(tokens).toEqual(["secret 1", "secret 1", "secret 1"]);
  expect(sent).toHaveLength(1);
});

it("revokes a token once, for the tenant that it is of", async () => {
  await pageToken();
  signIn("other", "one");
  await Promise.all([revokePageToken(), revokePageToken()]);
  expect(sent.slice(1)).toEqual([{ method: "DELETE", path: "/api/v1/client-tokens/tok_1", tenant: "acme" }]);
});

it.each([
  ["other", "one"],
  ["acme", "two"],
])("is another one in the tenant %s and the session %s", async (tenant, session) => {
  await pageToken();
  signIn(tenant, session);
  expect(await pageToken()).toBe("secret 2");
});

it("is replaced some minutes before it ends", async () => {
  const start = Date.now();
  await pageToken(start);
  expect(await pageToken(start + 54 * 60_000)).toBe("secret 1");
  expect(await pageToken(start + 56 * 60_000)).toBe("secret 2");
});

it("is made again after a failure", async () => {
  server.answer = () => Response.json({}, { status: 503 });
  await expect(pageToken()).rejects.toMatchObject({ status: 503 });
  server.answer = respond;
  expect(await pageToken()).toBe("secret 1");
});
