import { useLiveStatus } from "@/live/live";
import { Button, StatusMark, Tooltip } from "@/ui";

const WORDS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  paused: "Paused",
} as const;
const KINDS = { connecting: "neutral", live: "ok", reconnecting: "warning", paused: "neutral" } as const;

/** Whether the page follows events as they happen; a click pauses or resumes it. */
export function LivePill() {
  const { status, paused, setPaused } = useLiveStatus();
  return (
    <Tooltip label={paused ? "Follow events again" : "Stop following events"}>
      <Button
        variant="subtle"
        color="gray"
        size="compact-sm"
        onClick={() => setPaused(!paused)}
        aria-pressed={paused}
        visibleFrom="xs"
      >
        <StatusMark kind={KINDS[status]}>{WORDS[status]}</StatusMark>
      </Button>
    </Tooltip>
  );
}
