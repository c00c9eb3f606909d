import { query, type Schemas } from "@/api/client";
import { LeaveGuard } from "@/components/leave-guard";
import { kindInWords, type Scope, scopeQuery } from "@/components/scope-picker";
import { ActionButton, Button, ErrorNotice, Group, List, notify, Panel, Stack, Text } from "@/ui";
import { differenceInWords } from "./level-cards";
import { type Comparison, changedOperations, differenceOf, LEVEL_WORDS, type Level, percent } from "./levels";

interface SavePanelProps {
  scope: Scope;
  inForce: Schemas["PowerLevelInForce"];
  chosen: Level;
  comparison: Comparison | undefined;
  onSaved: () => Promise<unknown>;
  onUndo: () => void;
}

const MOST_LISTED = 6;

/** What saving changes, and from when. */
export function SavePanel({ scope, inForce, chosen, comparison, onSaved, onUndo }: SavePanelProps) {
  const save = query.useMutation("put", "/api/v1/power-level");
  const changed = chosen !== inForce.power_level;
  const setHere = inForce.origin === scope.kind;
  const submit = async (level: Level | null) => {
    try {
      await save.mutateAsync({ params: { query: scopeQuery(scope) }, body: { power_level: level } });
      notify(
        level
          ? `${LEVEL_WORDS[level].title} is saved. It holds within a second.`
          : "The broader level holds now.",
      );
      await onSaved();
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  const where = scope.kind === "tenant" ? "the tenant" : `this ${kindInWords(scope.kind)}`;
  return (
    <Panel title={changed ? `What changes with ${LEVEL_WORDS[chosen].title}` : "Saved"}>
      <LeaveGuard dirty={changed} what="choice of a level" parameters={["scope", "id"]} />
      <Stack gap="sm">
        {changed ? (
          <Changes
            comparison={scope.kind === "tenant" ? comparison : undefined}
            from={inForce.power_level}
            to={chosen}
            where={where}
          />
        ) : (
          <Text size="sm">
            {LEVEL_WORDS[inForce.power_level].title} is in force for {where}: {originInWords(inForce, scope)}.
          </Text>
        )}
        {save.error ? <ErrorNotice what="the power level" error={save.error} change /> : null}
        <Group gap="xs">
          <ActionButton
            operation="set_power_level"
            loading={save.isPending}
            disabledReason={changed ? undefined : "This level is in force already."}
            onClick={() => void submit(chosen)}
          >
            Save power level
          </ActionButton>
          {changed ? (
            <Button variant="default" onClick={onUndo}>
              Undo
            </Button>
          ) : null}
          {setHere && !changed ? (
            <ActionButton operation="set_power_level" variant="default" onClick={() => void submit(null)}>
              Do not set it here
            </ActionButton>
          ) : null}
        </Group>
      </Stack>
    </Panel>
  );
}

function originInWords({ origin, origin_id: id }: Schemas["PowerLevelInForce"], scope: Scope): string {
  if (origin === "default") {
    return "nobody has set one, and it is the default";
  }
  if (origin === scope.kind) {
    return "set here";
  }
  return origin === "platform"
    ? "set for the whole installation"
    : `set for the ${kindInWords(origin)} ${id ?? ""}`.trim();
}

interface ChangesProps {
  comparison: Comparison | undefined;
  from: Level;
  to: Level;
  where: string;
}

function Changes({ comparison, from, to, where }: ChangesProps) {
  const before = comparison?.levels.find(({ level }) => level === from);
  const after = comparison?.levels.find(({ level }) => level === to);
  const operations = before && after ? changedOperations(before, after) : [];
  return (
    <List size="sm" spacing={4}>
      <List.Item>
        From the next second on, for requests of {where} that name no level. Requests in progress are not
        affected.
      </List.Item>
      {comparison ? (
        <List.Item>
          {differenceInWords(differenceOf(comparison, to, from))}, for requests like those of the last{" "}
          {comparison.days_seen} days.
        </List.Item>
      ) : null}
      {after?.changed_permille === 0 ? (
        <List.Item>Your requests name their models and keep them; only the price factor changes.</List.Item>
      ) : after?.changed_permille ? (
        <List.Item>{percent(after.changed_permille)} of your requests go to another model.</List.Item>
      ) : null}
      {after?.refused_permille ? (
        <List.Item>{percent(after.refused_permille)} of your requests would be refused.</List.Item>
      ) : null}
      {operations.slice(0, MOST_LISTED).map((change) => (
        <List.Item key={change.name}>
          {change.name}: {change.before} → {change.after}
        </List.Item>
      ))}
      {operations.length > MOST_LISTED ? (
        <List.Item>and {operations.length - MOST_LISTED} more operations, in the table below</List.Item>
      ) : null}
    </List>
  );
}
