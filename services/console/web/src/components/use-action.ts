import { useState } from "react";

export interface Action<A extends readonly unknown[], T> {
  /** Do it; return what came back, or undefined after a failure, which `error` has. */
  readonly run: (...args: A) => Promise<T | undefined>;
  readonly busy: boolean;
  readonly error: unknown;
  readonly reset: () => void;
}

/** Return an action with its state. Unlike a mutation, nothing that is passed to it is kept: it may be a secret. */
export function useAction<A extends readonly unknown[], T>(act: (...args: A) => Promise<T>): Action<A, T> {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: null });
  return {
    ...state,
    reset: () => setState({ busy: false, error: null }),
    async run(...args: A) {
      setState({ busy: true, error: null });
      try {
        const result = await act(...args);
        setState({ busy: false, error: null });
        return result;
      } catch (error) {
        setState({ busy: false, error });
        return undefined;
      }
    },
  };
}
