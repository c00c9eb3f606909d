import { Alert, Button, Code, Group, Text } from "@mantine/core";
import { asApiError } from "@/api/errors";
import { CopyButton } from "./copy-button";
import { WarningIcon } from "./icons";

interface ErrorNoticeProps {
  /** What could not be done or shown: "the list of keys", or a sentence's object such as "this change". */
  what: string;
  error: unknown;
  onRetry?: () => void;
  /** Whether older data stay on the page below. */
  stale?: boolean;
  /** Whether the failure is of a change that somebody made, not of data to show. */
  change?: boolean;
}

/** Say what failed, whether traffic is affected, what to do, and the id of the request. */
export function ErrorNotice({ what, error, onRetry, stale = false, change = false }: ErrorNoticeProps) {
  const problem = asApiError(error);
  const title = change ? `Could not save ${what}` : `Could not load ${what}`;
  return (
    <Alert
      color="red"
      variant="outline"
      icon={<WarningIcon aria-hidden />}
      title={title}
      role="alert"
      mb={stale ? "sm" : 0}
    >
      <Text size="sm">{problem.message}</Text>
      {problem.isOutage ? (
        <Text size="sm">
          Requests of your apps are not affected by this page.
          {stale ? " Older data are shown below." : ""}
        </Text>
      ) : null}
      <Group gap="xs" mt="xs">
        {onRetry ? (
          <Button size="compact-sm" variant="default" onClick={onRetry}>
            Try again
          </Button>
        ) : null}
        {problem.requestId ? (
          <Group gap={4}>
            <Text size="xs">Request ID</Text>
            <Code>{problem.requestId}</Code>
            <CopyButton value={problem.requestId} label="Copy the request ID" />
          </Group>
        ) : null}
      </Group>
    </Alert>
  );
}
