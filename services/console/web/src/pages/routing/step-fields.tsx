import { groupModels, useModels, useProviderNames } from "@/components/model-options";
import { ActionIcon, Button, Group, NumberInput, Select, Stack, Text } from "@/ui";
import { DeleteIcon, PlusIcon } from "@/ui/icons";
import { replaced } from "./editor";
import { shareInWords } from "./operations";
import type { Share, Step } from "./rules-text";

const LEVELS = ["eco", "balanced", "precision"] as const;
const USE_CASES = ["general", "code", "chat", "long-context", "premium", "budget", "privacy"] as const;
const CHOICES = {
  group: "The gateway's choice",
  items: ["default", "auto"].map((value) => ({ value, label: value })),
};
const MOST_SHARES = 10;

interface StepFieldsProps {
  name: string;
  step: Step;
  disabled: boolean;
  onChange: (step: Step) => void;
}

/** The fields of a step, by its kind. */
export function StepFields({ name, step, disabled, onChange }: StepFieldsProps) {
  if (step.split) {
    return (
      <SplitFields
        name={name}
        split={step.split}
        disabled={disabled}
        onChange={(split) => onChange({ split })}
      />
    );
  }
  if (step.power_level) {
    return (
      <Select
        aria-label={`Power level of ${name}`}
        data={LEVELS}
        value={step.power_level}
        onChange={(level) => onChange({ power_level: LEVELS.find((each) => each === level) ?? "balanced" })}
        allowDeselect={false}
        disabled={disabled}
      />
    );
  }
  if (step.chain) {
    return (
      <Select
        aria-label={`Use case of ${name}`}
        data={USE_CASES}
        value={step.chain}
        onChange={(chain) => onChange({ chain: USE_CASES.find((each) => each === chain) ?? "general" })}
        allowDeselect={false}
        disabled={disabled}
      />
    );
  }
  return (
    <Group gap="xs" grow preventGrowOverflow={false}>
      <ModelSelect
        label={`Model of ${name}`}
        value={step.model ?? ""}
        disabled={disabled}
        onChange={(model) => onChange({ ...step, model })}
      />
      <ProviderSelect
        label={`Provider of ${name}`}
        value={step.provider ?? null}
        disabled={disabled}
        onChange={(provider) => onChange({ model: step.model, ...(provider ? { provider } : {}) })}
      />
    </Group>
  );
}

interface ModelSelectProps {
  label: string;
  value: string;
  disabled: boolean;
  onChange: (model: string) => void;
}

function ModelSelect({ label, value, disabled, onChange }: ModelSelectProps) {
  const models = useModels();
  const known = value === "" || CHOICES.items.some((item) => item.value === value) ? [] : [value];
  return (
    <Select
      aria-label={label}
      placeholder="Model"
      data={[CHOICES, ...groupModels(models.data?.data ?? [], "any", known)]}
      value={value === "" ? null : value}
      onChange={(model) => onChange(model ?? "")}
      searchable
      allowDeselect={false}
      limit={100}
      nothingFoundMessage="No such model"
      disabled={disabled}
      miw={180}
    />
  );
}

function ProviderSelect({
  label,
  value,
  disabled,
  onChange,
}: {
  label: string;
  value: string | null;
  disabled: boolean;
  onChange: (provider: string | null) => void;
}) {
  const { names } = useProviderNames();
  return (
    <Select
      aria-label={label}
      placeholder="At any provider"
      data={value && !names.some((each) => each.value === value) ? [...names, value] : names}
      value={value}
      onChange={onChange}
      searchable
      clearable
      disabled={disabled}
      miw={150}
    />
  );
}

interface SplitFieldsProps {
  name: string;
  split: readonly Share[];
  disabled: boolean;
  onChange: (split: Share[]) => void;
}

function SplitFields({ name, split, disabled, onChange }: SplitFieldsProps) {
  return (
    <Stack gap={6}>
      {split.map((share, index) => (
        <Group key={index} gap="xs" wrap="nowrap">
          <ModelSelect
            label={`Model ${index + 1} in ${name}`}
            value={share.model}
            disabled={disabled}
            onChange={(model) => onChange(replaced(split, index, { ...share, model }))}
          />
          <NumberInput
            aria-label={`Weight of model ${index + 1} in ${name}`}
            value={share.weight}
            onChange={(weight) =>
              onChange(replaced(split, index, { ...share, weight: typeof weight === "number" ? weight : 0 }))
            }
            min={1}
            max={1_000_000}
            allowDecimal={false}
            w={90}
            disabled={disabled}
          />
          <Text size="xs" c="dimmed" w={44} className="tabular">
            {shareInWords(split, index)}
          </Text>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={`Remove model ${index + 1} from ${name}`}
            disabled={disabled || split.length <= 2}
            onClick={() => onChange(split.filter((_, at) => at !== index))}
          >
            <DeleteIcon size={16} aria-hidden />
          </ActionIcon>
        </Group>
      ))}
      {disabled || split.length >= MOST_SHARES ? null : (
        <Group>
          <Button
            size="compact-xs"
            variant="subtle"
            leftSection={<PlusIcon size={12} aria-hidden />}
            onClick={() => onChange([...split, { model: split[0]?.model ?? "default", weight: 10 }])}
            aria-label={`Add a model to ${name}`}
          >
            Add model
          </Button>
        </Group>
      )}
    </Stack>
  );
}
