/** Failures of the management API, as pages show them. */

export interface ErrorContent {
  readonly code: string;
  readonly message: string;
  readonly param?: string | null;
}

/** A request that the management API refused, or that did not reach it (status 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | null;
  /** The name of the field that is wrong, if the API named one. */
  readonly field: string | null;

  constructor(status: number, content: ErrorContent, requestId: string | null) {
    super(content.message);
    this.name = "ApiError";
    this.status = status;
    this.code = content.code;
    this.requestId = requestId;
    this.field = content.param ?? null;
  }

  /** Whether the console could not be reached, or a service behind it does not answer: trying again may help. */
  get isOutage(): boolean {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

/** Return the error of a response that is no success. */
export async function readError(response: Response): Promise<ApiError> {
  const requestId = response.headers.get("x-request-id");
  const fallback = { code: "unknown", message: `The console answered with status ${response.status}.` };
  try {
    const body: unknown = await response.json();
    return new ApiError(response.status, errorContent(body) ?? fallback, requestId);
  } catch {
    return new ApiError(response.status, fallback, requestId);
  }
}

function errorContent(body: unknown): ErrorContent | null {
  if (typeof body !== "object" || body === null || !("error" in body)) {
    return null;
  }
  const { error } = body;
  if (typeof error !== "object" || error === null || !("message" in error)) {
    return null;
  }
  const { message } = error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "unknown";
  const param = "param" in error && typeof error.param === "string" ? error.param : null;
  return typeof message === "string" ? { code, message, param } : null;
}

/** Return any thrown value as an ApiError. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  return new ApiError(0, { code: "unreachable", message: "The console does not answer." }, null);
}
