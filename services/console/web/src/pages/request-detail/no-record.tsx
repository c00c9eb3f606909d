import { useEffect, useState } from "react";
import { Button, EmptyState, Text } from "@/ui";
import { timeOfId } from "./records";

const MAY_RUN_MS = 15 * 60_000;

interface NoRecordProps {
  id: string;
  onRetry: () => void;
  busy: boolean;
}

/** Say why there is nothing about a request: it may still run, or it is none of this tenant. */
export function NoRecord({ id, onRetry, busy }: NoRecordProps) {
  const made = timeOfId(id);
  const [now] = useState(() => Date.now());
  const recent = made !== null && now - made < MAY_RUN_MS;
  useEffect(() => {
    document.title = "Request not found · Keyferry";
  }, []);
  return (
    <EmptyState
      title={recent ? "Not recorded yet" : "There is no record of this request"}
      action={
        <Button variant="default" onClick={onRetry} loading={busy}>
          Look again
        </Button>
      }
    >
      {recent ? (
        <Text inherit role="status">
          The request is still running, or its record is on its way: that takes about a second after it has
          ended. It appears here by itself.
        </Text>
      ) : (
        <Text inherit>
          {made === null
            ? "This is no ID of a request: those begin with req_ and are in the header x-request-id of every answer."
            : "It belongs to another tenant, or its record has been deleted."}
        </Text>
      )}
    </EmptyState>
  );
}
