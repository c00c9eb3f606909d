import { Alert, Button, Group, Stack, Text, Time } from "@/ui";
import { DiffView } from "./diff-view";
import { diffLines } from "./line-diff";
import { formatRules, type Rule } from "./rules-text";
import type { ForeignChange } from "./state";

export type Change = ForeignChange;

interface ChangedElsewhereProps {
  change: Change;
  mine: readonly Rule[];
  dirty: boolean;
  nameOf: (actor: string) => string;
  onResolve: (keepMine: boolean) => void;
}

/** Somebody else has saved or published while this editor was open: what differs, and which rules to go on with. */
export function ChangedElsewhere({ change, mine, dirty, nameOf, onResolve }: ChangedElsewhereProps) {
  const who = nameOf(change.actor);
  const title =
    change.kind === "published"
      ? `${who} published ${change.name} while you edit`
      : `${who} saved another draft while you edit`;
  return (
    <Alert color="yellow" variant="outline" title={title} role="alert">
      <Stack gap="sm">
        <Text size="sm">
          <Time iso={change.at} relative />.{" "}
          {dirty
            ? "Your rules are unchanged. These lines differ: + are yours, − are theirs."
            : "You have changed nothing. These lines differ: + are what you see, − are theirs."}
        </Text>
        <DiffView
          label="What differs between their rules and yours"
          lines={diffLines(formatRules(change.rules, "yaml"), formatRules(mine, "yaml"))}
        />
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={() => onResolve(true)}>
            Keep my rules
          </Button>
          <Button size="xs" variant="default" onClick={() => onResolve(false)}>
            Take theirs
          </Button>
        </Group>
      </Stack>
    </Alert>
  );
}
