import { useState } from "react";
import { Badge, Box, Button, Collapse, Group, Paper, Stack, Switch, Text, TextInput } from "@/ui";
import { ChevronDownIcon, ChevronRightIcon } from "@/ui/icons";
import { ChainEditor, StepButtons } from "./chain-editor";
import { ConditionRows } from "./conditions";
import { stepInWords } from "./operations";
import type { Problem } from "./rules-document";
import type { Rule } from "./rules-text";

export interface Note {
  readonly fault: boolean;
  readonly detail: string;
}

interface RuleFormProps {
  rule: Rule;
  index: number;
  last: boolean;
  operations: readonly string[];
  problems: readonly Problem[];
  /** What the server has found in the rule. */
  notes: readonly Note[];
  disabled: boolean;
  onChange: (rule: Rule) => void;
  onMove: (to: number) => void;
  onRemove: () => void;
}

/** One rule as rows of a form. */
export function RuleForm(props: RuleFormProps) {
  const { rule, index, last, problems, notes, disabled, onChange, onMove, onRemove } = props;
  const [opened, setOpened] = useState(problems.length > 0 || notes.length > 0 || index < 3);
  const Chevron = opened ? ChevronDownIcon : ChevronRightIcon;
  const general = problems.filter(
    ({ path }) => path.length === 0 || (path[0] === "chain" && path.length === 1),
  );
  return (
    <Paper withBorder p="sm">
      <Stack gap="xs">
        <Group justify="space-between" wrap="nowrap" gap="xs">
          <Button
            variant="subtle"
            color="gray"
            c="inherit"
            size="compact-sm"
            leftSection={<Chevron size={14} aria-hidden />}
            aria-expanded={opened}
            onClick={() => setOpened(!opened)}
          >
            {index + 1}. {rule.name || "without a name"}
          </Button>
          <StepButtons
            name={`rule ${rule.name}`}
            first={index === 0}
            last={last}
            disabled={disabled}
            onUp={() => onMove(index - 1)}
            onDown={() => onMove(index + 1)}
            onRemove={onRemove}
          />
        </Group>
        {opened ? null : (
          <Text size="xs" c="dimmed">
            {rule.chain.map(stepInWords).join(", then ")}
          </Text>
        )}
        <Group gap={6}>
          {rule.enabled === false ? (
            <Badge variant="default" tt="none">
              Off
            </Badge>
          ) : null}
          {rule.default ? (
            <Badge variant="default" tt="none">
              For all requests that are left
            </Badge>
          ) : null}
        </Group>
        {notes.map((note) => (
          <Text key={note.detail} size="sm" c={note.fault ? "error" : undefined}>
            {note.fault ? "Fault: " : "Note: "}
            {note.detail}
          </Text>
        ))}
        {general.map((problem) => (
          <Text key={problem.message} size="sm" c="error">
            Line {problem.line}: {problem.message}
          </Text>
        ))}
        <Collapse expanded={opened}>{opened ? <RuleFields {...props} onChange={onChange} /> : null}</Collapse>
      </Stack>
    </Paper>
  );
}

function RuleFields({ rule, last, operations, problems, disabled, onChange }: RuleFormProps) {
  const errorAt = (...path: (string | number)[]) =>
    problems.find((problem) => path.every((part, at) => problem.path[at] === part))?.message;
  return (
    <Stack gap="sm">
      <Group grow align="flex-start" preventGrowOverflow={false}>
        <TextInput
          label="Name"
          aria-label={`Name of rule ${rule.name}`}
          value={rule.name}
          onChange={(event) => onChange({ ...rule, name: event.currentTarget.value })}
          error={errorAt("name")}
          disabled={disabled}
        />
        <TextInput
          label="Description"
          aria-label={`Description of rule ${rule.name}`}
          value={rule.description ?? ""}
          maxLength={500}
          onChange={(event) => onChange({ ...rule, description: event.currentTarget.value })}
          error={errorAt("description")}
          disabled={disabled}
        />
      </Group>
      {rule.default ? null : (
        <ConditionRows
          ruleName={rule.name}
          when={rule.when ?? {}}
          operations={operations}
          errorOf={(name) => errorAt("when", name)}
          disabled={disabled}
          onChange={(when) => onChange({ ...rule, when })}
        />
      )}
      <ChainEditor
        ruleName={rule.name}
        chain={rule.chain}
        errorOf={(step) => errorAt("chain", step)}
        disabled={disabled}
        onChange={(chain) => onChange({ ...rule, chain })}
      />
      <Box>
        <Stack gap={6}>
          <Switch
            label="Go on with the fallback models after the chain"
            aria-label={`Go on with the fallback models after the chain of ${rule.name}`}
            checked={rule.fallback !== false}
            onChange={(event) => onChange({ ...rule, fallback: event.currentTarget.checked })}
            disabled={disabled}
          />
          <Switch
            label="On"
            aria-label={`Rule ${rule.name} is on`}
            checked={rule.enabled !== false}
            onChange={(event) => onChange({ ...rule, enabled: event.currentTarget.checked })}
            disabled={disabled}
          />
          {last ? (
            <Switch
              label="For all requests that are left"
              aria-label={`Rule ${rule.name} is for all requests that are left`}
              checked={rule.default === true}
              onChange={(event) =>
                onChange({
                  ...rule,
                  default: event.currentTarget.checked,
                  ...(event.currentTarget.checked ? { when: {} } : {}),
                })
              }
              disabled={disabled}
            />
          ) : null}
        </Stack>
      </Box>
    </Stack>
  );
}
