import { useCallback, useEffect, useRef, useState } from "react";
import { type ChatEvent, type ChatUsage, streamChat } from "@/api/chat";
import { type ApiError, asApiError } from "@/api/errors";
import { pageToken } from "@/api/page-token";

export interface Run {
  readonly state: "idle" | "running" | "finished" | "stopped" | "failed";
  readonly text: string;
  readonly reasoning: string;
  readonly tools: string;
  readonly requestId: string | null;
  readonly served: string | null;
  readonly keySource: string | null;
  readonly usage: ChatUsage | null;
  readonly finishReason: string | null;
  /** Milliseconds from the sending to the first token, and to the end. */
  readonly firstTokenMs: number | null;
  readonly elapsedMs: number | null;
  readonly error: ApiError | null;
}

const IDLE: Run = {
  state: "idle",
  text: "",
  reasoning: "",
  tools: "",
  requestId: null,
  served: null,
  keySource: null,
  usage: null,
  finishReason: null,
  firstTokenMs: null,
  elapsedMs: null,
  error: null,
};

/** Return the state of one answer, and functions that send a request and that stop it. */
export function useRun() {
  const [run, setRun] = useState<Run>(IDLE);
  const abort = useRef<AbortController | null>(null);
  useEffect(() => () => abort.current?.abort(), []);

  const start = useCallback(async (body: Record<string, unknown>) => {
    abort.current?.abort();
    const controller = new AbortController();
    abort.current = controller;
    const update = (change: (before: Run) => Run) => {
      if (abort.current === controller) {
        setRun(change);
      }
    };
    update(() => ({ ...IDLE, state: "running" }));
    try {
      const token = await pageToken();
      const sentAt = performance.now();
      for await (const event of streamChat(token, body, controller.signal)) {
        const now = performance.now() - sentAt;
        update((before) => ({ ...applyEvent(before, event, now), elapsedMs: now }));
      }
      update((before) => ({ ...before, state: "finished" }));
    } catch (error) {
      const state = controller.signal.aborted ? "stopped" : "failed";
      update((before) => ({ ...before, state, error: state === "failed" ? asApiError(error) : null }));
    }
  }, []);
  const stop = useCallback(() => abort.current?.abort(), []);
  return { run, start, stop };
}

/** Return the state of an answer after one more piece of it. */
export function applyEvent(before: Run, event: ChatEvent, nowMs: number): Run {
  switch (event.kind) {
    case "started":
      return {
        ...before,
        requestId: event.requestId || null,
        served: [event.provider, event.model].filter(Boolean).join("/") || null,
        keySource: event.keySource || null,
      };
    case "usage":
      return { ...before, usage: event.usage };
    case "finished":
      return { ...before, finishReason: event.reason };
    default: {
      const first = before.firstTokenMs ?? nowMs;
      const field = event.kind === "tool" ? "tools" : event.kind;
      return { ...before, firstTokenMs: first, [field]: before[field] + event.text };
    }
  }
}
