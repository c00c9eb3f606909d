/**
 * The typed client of the management API.
 *
 * Paths are written as a tenant's own (`/api/v1/...`). For an operator who acts for a tenant, the client puts
 * `/api/v1/ops/tenants/{tenant}` in their place; for a member of several tenants it names the tenant in a header.
 */

import createFetchClient, { defaultPathSerializer, type Middleware } from "openapi-fetch";
import createQueryClient from "openapi-react-query";
import { ApiError, readError } from "@/api/errors";
import type { components, paths } from "@/api/generated/schema";

export type Schemas = components["schemas"];

/** For whom requests are sent. */
export interface RequestScope {
  /** The tenant of the page; null outside the pages of a tenant. */
  readonly tenant: string | null;
  /** Whether the sender acts for that tenant as an operator, being no member of it. */
  readonly asOperator: boolean;
  readonly csrfToken: string | null;
}

let requestScope: RequestScope = { tenant: null, asOperator: false, csrfToken: null };
const unauthorizedListeners = new Set<(response: Response) => void>();

/** Set for whom the following requests are sent. */
export function setRequestScope(scope: RequestScope): void {
  requestScope = scope;
}

/** Return for whom requests are sent now: for one that is sent later, and then for the same tenant. */
export function currentScope(): RequestScope {
  return requestScope;
}

/** Call `listener` whenever a request is answered with 401; return a function that ends this. */
export function onUnauthorized(listener: (response: Response) => void): () => void {
  unauthorizedListeners.add(listener);
  return () => unauthorizedListeners.delete(listener);
}

const OWN_PREFIX = "/api/v1/";
/** Routes that are about the sender or the installation, whatever the tenant of the page is. */
const NOT_OF_TENANT = /^\/api\/v1\/(session|sessions|ops)(\/|$)/;

/** Return the path of a route for the tenant of the page. */
export function scopedPath(path: string, scope: RequestScope = requestScope): string {
  if (
    !scope.asOperator ||
    scope.tenant === null ||
    !path.startsWith(OWN_PREFIX) ||
    NOT_OF_TENANT.test(path)
  ) {
    return path;
  }
  return `${OWN_PREFIX}ops/tenants/${encodeURIComponent(scope.tenant)}/${path.slice(OWN_PREFIX.length)}`;
}

/** Return the headers that every request to the management API carries. */
export function scopedHeaders(method: string, path: string, scope: RequestScope = requestScope): Headers {
  const headers = new Headers();
  if (method !== "GET" && method !== "HEAD" && scope.csrfToken) {
    headers.set("x-csrf-token", scope.csrfToken);
  }
  if (scope.tenant !== null && !scope.asOperator && !NOT_OF_TENANT.test(path)) {
    headers.set("x-keyferry-tenant", scope.tenant);
  }
  return headers;
}

/**
 * Return one part of a path. Raises ApiError for what would lead to another route: the server decodes `%2F` before it looks for
 * a route, and browsers resolve dots. Such ids come from addresses that somebody else has written.
 */
export function pathPart(value: string): string {
  if (value === "" || value === "." || value === ".." || /[/\\\p{Cc}]/u.test(value)) {
    throw new ApiError(404, { code: "not_found", message: "There is nothing of that name." }, null);
  }
  return encodeURIComponent(value);
}

/** Send a request to a path of the management API, for what the typed client cannot: downloads and streams. Raises ApiError. */
export async function sendRaw(
  method: string,
  path: string,
  init: RequestInit = {},
  scope: RequestScope = requestScope,
): Promise<Response> {
  const headers = scopedHeaders(method, path, scope);
  new Headers(init.headers).forEach((value, name) => {
    headers.set(name, value);
  });
  let response: Response;
  try {
    response = await fetch(scopedPath(path, scope), { ...init, method, headers, credentials: "same-origin" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0, { code: "unreachable", message: "The console does not answer." }, null);
  }
  if (!response.ok) {
    await reject(response);
  }
  return response;
}

async function reject(response: Response): Promise<never> {
  if (response.status === 401) {
    for (const listener of unauthorizedListeners) {
      listener(response);
    }
  }
  throw await readError(response);
}

const scoped: Middleware = {
  async onRequest({ request }) {
    const url = new URL(request.url);
    const headers = scopedHeaders(request.method, url.pathname);
    headers.forEach((value, name) => {
      request.headers.set(name, value);
    });
    const path = scopedPath(url.pathname);
    if (path === url.pathname) {
      return request;
    }
    url.pathname = path;
    // Taken over as a stream, a body would need HTTP/2, which browsers refuse over plain HTTP.
    const body = request.body === null ? null : await request.arrayBuffer();
    const { method, headers: all, credentials, signal } = request;
    return new Request(url, { method, headers: all, credentials, signal, body });
  },
  async onResponse({ response }) {
    if (!response.ok) {
      await reject(response);
    }
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") {
      return error;
    }
    return new ApiError(0, { code: "unreachable", message: "The console does not answer." }, null);
  },
};

/** Repeat a list parameter, as the management API expects it: `provider=openai&provider=mistral`. */
export const api = createFetchClient<paths>({
  baseUrl: window.location.origin,
  credentials: "same-origin",
  querySerializer: { array: { style: "form", explode: true } },
  pathSerializer(path, parameters) {
    for (const value of Object.values(parameters)) {
      pathPart(String(value));
    }
    return defaultPathSerializer(path, parameters);
  },
});
api.use(scoped);

/** Hooks of TanStack Query by method and path: `query.useQuery("get", "/api/v1/models", { params: { query } })`. */
export const query = createQueryClient(api);
