import { Box, Button, Group, Skeleton, type StyleProp, Text } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { ErrorNotice } from "./error-notice";

const SHOW_AFTER_MS = 150;
const STILL_WORKING_MS = 3000;

interface QueryStateProps<T> {
  /** What the data are, for messages: "the usage of the last 30 days". */
  what: string;
  query: Pick<UseQueryResult<T, unknown>, "data" | "error" | "isFetching" | "isPending" | "refetch">;
  /** The height in pixels of the finished content, by width of the window if it differs, so that nothing moves when it comes. */
  height?: StyleProp<number>;
  /** Stop waiting; shown after three seconds. */
  onCancel?: () => void;
  children: (data: T) => ReactNode;
}

/** Show data once they are there; before that a skeleton of their size, after a failure what failed and what to do. */
export function QueryState<T>({ what, query, height = 160, onCancel, children }: QueryStateProps<T>) {
  if (query.data !== undefined) {
    return (
      <Box className={query.isFetching ? "refetching" : undefined} aria-busy={query.isFetching}>
        {query.error ? (
          <ErrorNotice what={what} error={query.error} onRetry={() => void query.refetch()} stale />
        ) : null}
        {children(query.data)}
      </Box>
    );
  }
  if (query.error && !query.isFetching) {
    return <ErrorNotice what={what} error={query.error} onRetry={() => void query.refetch()} />;
  }
  return <Waiting what={what} height={height} onCancel={onCancel} />;
}

function Waiting({
  what,
  height,
  onCancel,
}: {
  what: string;
  height: StyleProp<number>;
  onCancel?: (() => void) | undefined;
}) {
  const [waited, setWaited] = useState(0);
  useEffect(() => {
    const timers = [SHOW_AFTER_MS, STILL_WORKING_MS].map((delay) =>
      setTimeout(() => setWaited(delay), delay),
    );
    return () => timers.forEach(clearTimeout);
  }, []);
  return (
    <Box h={height} aria-busy="true">
      {waited >= SHOW_AFTER_MS ? (
        <Skeleton height={waited >= STILL_WORKING_MS ? "calc(100% - 40px)" : "100%"} />
      ) : null}
      {waited >= STILL_WORKING_MS ? (
        <Group gap="xs" h={40} role="status">
          <Text size="sm">Still loading {what}.</Text>
          {onCancel ? (
            <Button size="compact-sm" variant="default" onClick={onCancel}>
              Cancel
            </Button>
          ) : null}
        </Group>
      ) : null}
    </Box>
  );
}
