/** Short messages in a corner, which repeat what has changed in its own place. */

import { Button, Group, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";

/** Say that something is done. */
export function notify(message: string, kind: "ok" | "error" = "ok"): void {
  notifications.show({ message, color: kind === "ok" ? "green" : "red", role: "status" });
}

const UNDO_MS = 10_000;

/** Do something after ten seconds, in which it can be undone; leaving the page does it at once. */
export function notifyWithUndo(message: string, act: () => void): void {
  let settled = false;
  const settle = (run: boolean) => {
    if (settled) {
      return;
    }
    settled = true;
    clearTimeout(timer);
    window.removeEventListener("pagehide", onLeave);
    notifications.hide(id);
    if (run) {
      act();
    }
  };
  const onLeave = () => settle(true);
  const timer = setTimeout(() => settle(true), UNDO_MS);
  window.addEventListener("pagehide", onLeave);
  const id = notifications.show({
    autoClose: false,
    withCloseButton: false,
    role: "status",
    message: (
      <Group justify="space-between" gap="sm">
        <Text size="sm">{message}</Text>
        <Button size="compact-sm" variant="default" onClick={() => settle(false)}>
          Undo
        </Button>
      </Group>
    ),
  });
}
