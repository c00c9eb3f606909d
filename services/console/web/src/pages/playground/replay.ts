import { useMemo } from "react";
import { query } from "@/api/client";
import type { Draft } from "./state";

/** Return the conversation of an earlier request as a draft, if its content is stored; null otherwise. */
export function useReplay(requestId: string): Draft | null {
  const content = query.useQuery(
    "get",
    "/api/v1/requests/{request_id}/content",
    { params: { path: { request_id: requestId } } },
    { enabled: requestId !== "", retry: false, staleTime: Number.POSITIVE_INFINITY },
  );
  const request = content.data?.attempts[0]?.request;
  return useMemo(() => (request === undefined ? null : draftFromText(request)), [request]);
}

/** Return the draft of a stored body; null for one that was cut when it was stored. */
export function draftFromText(text: string): Draft | null {
  try {
    return draftFromRequest(JSON.parse(text));
  } catch {
    return null;
  }
}

interface StoredMessage {
  readonly role?: unknown;
  readonly content?: unknown;
}

/** Return the system message, the last message of the user and the tools of a stored request body. */
export function draftFromRequest(request: unknown): Draft {
  const body = typeof request === "object" && request !== null ? (request as Record<string, unknown>) : {};
  const messages: StoredMessage[] = Array.isArray(body.messages) ? body.messages : [];
  const lastOf = (role: string) =>
    textOf(messages.filter((message) => message?.role === role).at(-1)?.content);
  return {
    system: lastOf("system"),
    prompt: lastOf("user"),
    tools: Array.isArray(body.tools) ? JSON.stringify(body.tools, null, 2) : "",
  };
}

function textOf(content: unknown): string {
  if (typeof content === "string") {
    return content;
  }
  const parts: { text?: unknown }[] = Array.isArray(content) ? content : [];
  return parts.map((part) => (typeof part?.text === "string" ? part.text : "")).join("");
}
