/** Chat requests of this page to the API for apps: streamed, with what the answer's headers say about its route. */

import { ApiError, readError } from "@/api/errors";
import { CONFIG } from "@/config";

export interface ChatUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
}

export type ChatEvent =
  | {
      readonly kind: "started";
      readonly requestId: string;
      readonly provider: string;
      readonly model: string;
      readonly keySource: string;
    }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "reasoning"; readonly text: string }
  | { readonly kind: "tool"; readonly text: string }
  | { readonly kind: "usage"; readonly usage: ChatUsage }
  | { readonly kind: "finished"; readonly reason: string };

/** Send a chat request and yield what comes back. Raises ApiError; a stream that breaks raises one with the code `broken_stream`. */
export async function* streamChat(
  token: string,
  body: Record<string, unknown>,
  signal: AbortSignal,
): AsyncGenerator<ChatEvent> {
  let response: Response;
  try {
    response = await fetch(`${CONFIG.apiUrl}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
      signal,
      credentials: "omit",
    });
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    const message = `The API at ${CONFIG.apiUrl} does not answer, or does not allow this page.`;
    throw new ApiError(0, { code: "unreachable", message }, null);
  }
  if (!response.ok) {
    throw await readError(response);
  }
  const header = (name: string) => decodeHeader(response.headers.get(name));
  yield {
    kind: "started",
    requestId: header("x-request-id"),
    provider: header("x-keyferry-provider"),
    model: header("x-keyferry-model"),
    keySource: header("x-keyferry-credential"),
  };
  yield* readEvents(response, signal);
}

async function* readEvents(response: Response, signal: AbortSignal): AsyncGenerator<ChatEvent> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let done = false;
  while (reader) {
    const piece = await reader.read().catch((error: unknown) => {
      if (signal.aborted) {
        throw error;
      }
      return { done: true as const, value: undefined };
    });
    if (piece.done) {
      break;
    }
    const lines = (rest + piece.value).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "data: [DONE]") {
        done = true;
      } else if (line.startsWith("data: ")) {
        yield* chatEvents(line.slice("data: ".length));
      }
    }
  }
  if (!done) {
    throw new ApiError(
      0,
      { code: "broken_stream", message: "The answer broke off: what is shown is incomplete." },
      null,
    );
  }
}

function decodeHeader(value: string | null): string {
  try {
    return decodeURIComponent(value ?? "");
  } catch {
    return value ?? "";
  }
}

interface Chunk {
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: unknown;
      readonly reasoning_content?: unknown;
      readonly tool_calls?: unknown;
    };
    readonly finish_reason?: unknown;
  }[];
  readonly usage?: { readonly prompt_tokens?: unknown; readonly completion_tokens?: unknown } | null;
  readonly error?: { readonly message?: unknown; readonly code?: unknown };
}

/** Yield what one chunk of a streamed answer says. Raises ApiError for an error within the stream. */
export function* chatEvents(data: string): Generator<ChatEvent> {
  let chunk: Chunk;
  try {
    chunk = JSON.parse(data);
  } catch {
    throw new ApiError(
      0,
      { code: "broken_stream", message: "The answer holds a piece that is no JSON." },
      null,
    );
  }
  if (chunk.error) {
    const message = String(chunk.error.message ?? "The provider reported an error within the answer.");
    throw new ApiError(502, { code: String(chunk.error.code ?? "unknown"), message }, null);
  }
  for (const { delta, finish_reason: reason } of chunk.choices ?? []) {
    if (typeof delta?.reasoning_content === "string" && delta.reasoning_content) {
      yield { kind: "reasoning", text: delta.reasoning_content };
    }
    if (typeof delta?.content === "string" && delta.content) {
      yield { kind: "text", text: delta.content };
    }
    if (Array.isArray(delta?.tool_calls)) {
      yield { kind: "tool", text: toolText(delta.tool_calls) };
    }
    if (typeof reason === "string") {
      yield { kind: "finished", reason };
    }
  }
  const { prompt_tokens: input, completion_tokens: output } = chunk.usage ?? {};
  if (typeof input === "number" && typeof output === "number") {
    yield { kind: "usage", usage: { inputTokens: input, outputTokens: output } };
  }
}

function toolText(calls: readonly unknown[]): string {
  return calls
    .map((call) => {
      const fn = (call as { function?: { name?: unknown; arguments?: unknown } } | null)?.function;
      const name = typeof fn?.name === "string" ? `${fn.name} ` : "";
      return `${name}${typeof fn?.arguments === "string" ? fn.arguments : ""}`;
    })
    .join("\n");
}
