import { useState } from "react";
import { TENANT_GROUPS } from "@/navigation";
import { Group, Kbd, Modal, Stack, Switch, Text } from "@/ui";
import { setShortcutsEnabled, shortcutsEnabled } from "./shortcut-setting";

const GENERAL: readonly (readonly [string, string])[] = [
  ["Ctrl K", "Search or jump to a page, a key, a model or a request"],
  ["/", "Go to the search field of the page"],
  ["?", "Show this list"],
  ["Esc", "Close what is open"],
];

/** The list of shortcuts, with a switch that turns those of one letter off. */
export default function ShortcutList({ onClose }: { onClose: () => void }) {
  const [enabled, setEnabled] = useState(shortcutsEnabled);
  const pages = TENANT_GROUPS.flatMap((group) => group.pages).filter((page) => page.shortcut);
  return (
    <Modal opened onClose={onClose} title="Keyboard shortcuts">
      <Stack gap="xs">
        {GENERAL.map(([keys, meaning]) => (
          <Shortcut key={keys} keys={keys} meaning={meaning} />
        ))}
        {pages.map((page) => (
          <Shortcut key={page.path} keys={`g ${page.shortcut}`} meaning={`Go to ${page.name}`} />
        ))}
        <Switch
          label="Shortcuts of single letters"
          checked={enabled}
          onChange={(event) => {
            setEnabled(event.currentTarget.checked);
            setShortcutsEnabled(event.currentTarget.checked);
          }}
        />
      </Stack>
    </Modal>
  );
}

function Shortcut({ keys, meaning }: { keys: string; meaning: string }) {
  return (
    <Group justify="space-between" wrap="nowrap">
      <Text size="sm">{meaning}</Text>
      <Kbd>{keys}</Kbd>
    </Group>
  );
}
