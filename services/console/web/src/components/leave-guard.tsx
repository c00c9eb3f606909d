import { useBlocker } from "@tanstack/react-router";
import { ConfirmDialog, Text } from "@/ui";

interface LeaveGuardProps {
  /** Whether there is anything that would be lost. */
  dirty: boolean;
  /** What would be lost: "changes of the rules". */
  what: string;
  /** Parameters of the address whose change leaves the form as well. */
  parameters?: readonly string[];
}

const NO_PARAMETERS: readonly string[] = [];

/** Ask before a page with unsaved changes is left, also by closing the tab. */
export function LeaveGuard({ dirty, what, parameters = NO_PARAMETERS }: LeaveGuardProps) {
  const blocker = useBlocker({
    shouldBlockFn: ({ current, next }) =>
      dirty &&
      (current.pathname !== next.pathname ||
        parameters.some((name) => read(current.search, name) !== read(next.search, name))),
    enableBeforeUnload: () => dirty,
    withResolver: true,
  });
  return (
    <ConfirmDialog
      opened={blocker.status === "blocked"}
      title="Leave without saving?"
      verb="Leave without saving"
      onConfirm={() => blocker.proceed?.()}
      onClose={() => blocker.reset?.()}
    >
      <Text size="sm">Your unsaved {what} will be lost. Cancel to go on editing.</Text>
    </ConfirmDialog>
  );
}

function read(search: object, name: string): string {
  const value: unknown = Object.entries(search).find(([key]) => key === name)?.[1];
  return value === undefined ? "" : String(value);
}
