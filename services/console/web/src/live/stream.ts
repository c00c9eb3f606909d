/**
 * The stream of live events of one tenant, or of the installation.
 *
 * The browser connects again by itself after a cut. It does not after an answer that is no stream: then this class makes a new
 * connection after a while, longer each time. The stream is closed while the page is hidden, since browsers open few
 * connections to a server.
 */

export const TOPICS = [
  "requests",
  "credits",
  "health",
  "keys",
  "rules",
  "tokens",
  "members",
  "dead_letters",
  "alerts",
] as const;
export type Topic = (typeof TOPICS)[number];
/** `reset` says that events may have been lost: everything shown has to be loaded again. */
export type LiveEventName = Topic | "reset" | "access_changed";
export type LiveStatus = "connecting" | "live" | "reconnecting" | "paused";
export type LiveListener = (name: LiveEventName, data: unknown) => void;

const FIRST_DELAY_MS = 2000;
const LONGEST_DELAY_MS = 30_000;

export class LiveStream {
  private readonly path: string;
  private readonly listeners = new Set<LiveListener>();
  private readonly statusListeners = new Set<() => void>();
  private source: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private lastEventId = "";
  private paused = false;
  status: LiveStatus = "connecting";

  constructor(path: string) {
    this.path = path;
  }

  /** Connect, and follow whether the page is visible. Return a function that ends both. */
  start(): () => void {
    const onVisibility = () => (document.hidden ? this.disconnect("reconnecting") : this.connect());
    document.addEventListener("visibilitychange", onVisibility);
    this.connect();
    return () => {
      document.removeEventListener("visibilitychange", onVisibility);
      this.disconnect("connecting");
    };
  }

  /** Stop or resume the stream, as somebody chooses. */
  setPaused(paused: boolean): void {
    this.paused = paused;
    if (paused) {
      this.disconnect("paused");
    } else {
      this.connect();
    }
  }

  /** Call `listener` for each event; return a function that ends this. */
  listen(listener: LiveListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Call `listener` after each change of `status`; return a function that ends this. */
  listenToStatus(listener: () => void): () => void {
    this.statusListeners.add(listener);
    return () => this.statusListeners.delete(listener);
  }

  private connect(): void {
    if (this.source || this.paused || document.hidden) {
      return;
    }
    clearTimeout(this.timer);
    const resume = this.lastEventId ? `&last_event_id=${encodeURIComponent(this.lastEventId)}` : "";
    const source = new EventSource(`${this.path}${resume}`);
    this.source = source;
    source.addEventListener("ready", (event) => {
      this.failures = 0;
      this.setStatus("live");
      this.remember(event);
      // What happened before the first connection is in the data that the page has just loaded.
      if (this.lastEventId !== "" && resume !== "" && parse(event).resumed === false) {
        this.emit("reset", {});
      }
    });
    for (const topic of TOPICS) {
      source.addEventListener(topic, (event) => {
        this.remember(event);
        this.emit(topic, parse(event));
      });
    }
    source.addEventListener("reset", (event) => {
      this.remember(event);
      this.emit("reset", parse(event));
    });
    source.addEventListener("closing", (event) => {
      if (parse(event).reason !== "draining") {
        this.emit("access_changed", parse(event));
      }
    });
    source.addEventListener("error", () => this.onError(source));
  }

  private onError(source: EventSource): void {
    if (source !== this.source) {
      return;
    }
    this.failures += 1;
    this.setStatus("reconnecting");
    if (source.readyState === EventSource.CLOSED) {
      this.disconnect("reconnecting");
      const delay = Math.min(FIRST_DELAY_MS * 2 ** (this.failures - 1), LONGEST_DELAY_MS);
      this.timer = setTimeout(() => this.connect(), delay);
    }
  }

  private disconnect(status: LiveStatus): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.setStatus(this.paused ? "paused" : status);
  }

  private remember(event: Event): void {
    if (event instanceof MessageEvent && event.lastEventId) {
      this.lastEventId = event.lastEventId;
    }
  }

  private setStatus(status: LiveStatus): void {
    if (status !== this.status) {
      this.status = status;
      for (const listener of this.statusListeners) {
        listener();
      }
    }
  }

  private emit(name: LiveEventName, data: unknown): void {
    for (const listener of this.listeners) {
      listener(name, data);
    }
  }
}

function parse(event: Event): Record<string, unknown> {
  if (!(event instanceof MessageEvent) || typeof event.data !== "string") {
    return {};
  }
  try {
    const data: unknown = JSON.parse(event.data);
    return typeof data === "object" && data !== null ? { ...data } : {};
  } catch {
    return {};
  }
}
