/** Live events for pages: one stream a tab, and queries that are asked again when something has changed. */

import { useQueryClient } from "@tanstack/react-query";
import {
  createContext,
  type ReactNode,
  useContext,
  useEffect,
  useEffectEvent,
  useMemo,
  useState,
  useSyncExternalStore,
} from "react";
import type { Schemas } from "@/api/client";
import { useRefreshSender, useSession } from "@/session/session";
import { LiveStream, type Topic } from "./stream";

const LiveContext = createContext<LiveStream | null>(null);

/** The live data of a topic, as docs/guides/live-events.md describes them. */
export interface LiveData {
  requests: { requests: { complete: boolean; request: Schemas["LoggedRequest"] }[]; skipped: number };
  credits: Pick<
    Schemas["CreditBalance"],
    "tenant" | "balance" | "available" | "held" | "balance_usd" | "state" | "as_of"
  >;
  health: { outage: "began" | "ended" | null; health: Schemas["TargetHealth"] };
  keys: { key_id: string; provider: string; change: string; status: string; detail: string; at: string };
  rules: { action: string; target: string; at: string };
  tokens: { action: string; target: string; at: string };
  members: { action: string; target: string; at: string };
  alerts: {
    alert_id: string;
    rule_id: string;
    title: string;
    state: "fired" | "acknowledged" | "resolved";
    at: string;
  };
  dead_letters: { count: number; at: string };
}

function streamPath(tenant: string | null, asOperator: boolean): string {
  if (tenant === null) {
    return "/api/v1/ops/events?";
  }
  const name = encodeURIComponent(tenant);
  return asOperator ? `/api/v1/ops/tenants/${name}/events?` : `/api/v1/events?tenant=${name}`;
}

/** Open the stream of the tenant of the page, or of the installation. */
export function LiveProvider({ children }: { children: ReactNode }) {
  const { tenant, asOperator } = useSession();
  const stream = useMemo(() => new LiveStream(streamPath(tenant, asOperator)), [tenant, asOperator]);
  const refreshSender = useRefreshSender();
  const queries = useQueryClient();
  const onAccessChanged = useEffectEvent(() => void refreshSender());
  useEffect(() => stream.start(), [stream]);
  useEffect(
    () =>
      stream.listen((name) => {
        if (name === "access_changed") {
          onAccessChanged();
        } else if (name === "reset") {
          void queries.invalidateQueries();
        }
      }),
    [stream, queries],
  );
  return <LiveContext value={stream}>{children}</LiveContext>;
}

/** Call `handle` for each event of a topic while the component is shown. */
export function useLive<T extends Topic>(topic: T, handle: (data: LiveData[T]) => void): void {
  const stream = useContext(LiveContext);
  const onEvent = useEffectEvent((data: unknown) => handle(data as LiveData[T]));
  useEffect(
    () =>
      stream?.listen((name, data) => {
        if (name === topic) {
          onEvent(data);
        }
      }),
    [stream, topic],
  );
}

const LEAST_PAUSE_MS = 1000;

/**
 * Ask queries again when a topic has news, at most once in `pauseMs`: those whose path begins with one of `paths`, such as
 * `/api/v1/provider-keys`. Both must be constants.
 */
export function useRefetchOn(
  topics: readonly Topic[],
  paths: readonly string[],
  pauseMs: number = LEAST_PAUSE_MS,
): void {
  const stream = useContext(LiveContext);
  const queries = useQueryClient();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refetch = () => {
      timer = undefined;
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => {
          const path = queryKey[1];
          return typeof path === "string" && paths.some((prefix) => path.startsWith(prefix));
        },
      });
    };
    const stop = stream?.listen((name) => {
      if (topics.some((topic) => topic === name)) {
        timer ??= setTimeout(refetch, pauseMs);
      }
    });
    return () => {
      clearTimeout(timer);
      stop?.();
    };
  }, [stream, queries, topics, paths, pauseMs]);
}

/** Return the status of the stream, and a function that stops or resumes it. */
export function useLiveStatus() {
  const stream = useContext(LiveContext);
  const status = useSyncExternalStore(
    (listener) => stream?.listenToStatus(listener) ?? (() => undefined),
    () => stream?.status ?? "connecting",
  );
  const [paused, setPaused] = useState(false);
  return {
    status,
    paused,
    setPaused(next: boolean) {
      setPaused(next);
      stream?.setPaused(next);
    },
  };
}
