import { useScopeNames } from "@/components/scope-picker";
import { ActionIcon, Group, MultiSelect, NativeSelect, Stack, TagsInput, Text } from "@/ui";
import { CloseIcon } from "@/ui/icons";
import { CONDITION_NAMES, type ConditionName, type Conditions } from "./rules-text";

const LABELS: Record<ConditionName, string> = {
  operation: "Operation is",
  tag: "Tag is",
  model: "Model asked for is",
  power_level: "Power level asked for is",
  kind: "Kind is",
  team: "Team is",
  tenant: "Tenant is",
  tier: "Tier is",
};

const HINTS: Partial<Record<ConditionName, string>> = {
  operation: "such as summarize",
  tag: "NAME or NAME=VALUE",
  model: "gpt-5, or claude-*",
};

const CHOICES: Partial<Record<ConditionName, readonly string[]>> = {
  power_level: ["eco", "balanced", "precision"],
  kind: ["chat", "embedding"],
  tier: ["free", "starter", "professional", "enterprise"],
};

/** Only the platform's own rules may have these. */
const OF_PLATFORM: ReadonlySet<ConditionName> = new Set(["tenant", "tier"]);

interface ConditionRowsProps {
  ruleName: string;
  when: Conditions;
  /** Operations that requests have had. */
  operations: readonly string[];
  errorOf: (name: string) => string | undefined;
  disabled: boolean;
  onChange: (when: Conditions) => void;
}

/** The conditions of a rule, one row each. */
export function ConditionRows({
  ruleName,
  when,
  operations,
  errorOf,
  disabled,
  onChange,
}: ConditionRowsProps) {
  const given = CONDITION_NAMES.filter((name) => when[name] !== undefined && when[name] !== null);
  const left = CONDITION_NAMES.filter((name) => !given.includes(name) && !OF_PLATFORM.has(name));
  const teams = useScopeNames("team");
  const set = (name: ConditionName, values: readonly string[]) => onChange({ ...when, [name]: values });
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600}>
        When all of these hold
      </Text>
      {given.length === 0 ? (
        <Text size="sm" c="dimmed">
          No condition: the rule is for every request that is left.
        </Text>
      ) : null}
      {given.map((name) => (
        <Group key={name} align="flex-start" gap="xs" wrap="nowrap">
          <Values
            label={`${LABELS[name]} (rule ${ruleName})`}
            shownLabel={LABELS[name]}
            name={name}
            values={(when[name] ?? []) as string[]}
            suggestions={
              name === "operation"
                ? operations
                : name === "team"
                  ? (teams.data ?? []).map(({ value }) => value)
                  : []
            }
            error={errorOf(name)}
            disabled={disabled}
            onChange={(values) => set(name, values)}
          />
          <ActionIcon
            variant="subtle"
            color="gray"
            mt={26}
            aria-label={`Remove the condition ${LABELS[name]} of ${ruleName}`}
            disabled={disabled}
            onClick={() => {
              const { [name]: _, ...others } = when;
              onChange(others);
            }}
          >
            <CloseIcon size={16} aria-hidden />
          </ActionIcon>
        </Group>
      ))}
      {left.length > 0 && !disabled ? (
        <NativeSelect
          aria-label={`Add a condition to ${ruleName}`}
          size="xs"
          maw={220}
          data={[
            { value: "", label: "Add a condition" },
            ...left.map((name) => ({ value: name, label: LABELS[name] })),
          ]}
          value=""
          onChange={(event) => {
            const name = CONDITION_NAMES.find((each) => each === event.currentTarget.value);
            if (name) {
              set(name, []);
            }
          }}
        />
      ) : null}
    </Stack>
  );
}

interface ValuesProps {
  label: string;
  shownLabel: string;
  name: ConditionName;
  values: string[];
  suggestions: readonly string[];
  error: string | undefined;
  disabled: boolean;
  onChange: (values: string[]) => void;
}

function Values({ label, shownLabel, name, values, suggestions, error, disabled, onChange }: ValuesProps) {
  const choices = CHOICES[name];
  const problem =
    error ?? (values.length === 0 ? "Give at least one value, or remove the condition" : undefined);
  const common = {
    "aria-label": label,
    label: shownLabel,
    value: values,
    onChange,
    disabled,
    error: problem,
    flex: 1,
  };
  return choices ? (
    <MultiSelect {...common} data={[...choices]} />
  ) : (
    <TagsInput
      {...common}
      data={[...suggestions]}
      placeholder={values.length === 0 ? HINTS[name] : undefined}
    />
  );
}
