import { type DragEvent, useState } from "react";
import { ActionIcon, Button, Group, NativeSelect, Stack, Text } from "@/ui";
import { DeleteIcon, DownIcon, DragIcon, PlusIcon, UpIcon } from "@/ui/icons";
import { moved, replaced } from "./editor";
import type { Step } from "./rules-text";
import { StepFields } from "./step-fields";

const KINDS = [
  { value: "model", label: "Model" },
  { value: "power_level", label: "Power level" },
  { value: "chain", label: "Chain by use case" },
  { value: "split", label: "Split by weight" },
] as const;
export type StepKind = (typeof KINDS)[number]["value"];

const MOST_STEPS = 10;

/** Return which kind of step it is. */
export function kindOf(step: Step): StepKind {
  return step.split ? "split" : step.power_level ? "power_level" : step.chain ? "chain" : "model";
}

function newStep(kind: StepKind, model: string): Step {
  switch (kind) {
    case "power_level":
      return { power_level: "balanced" };
    case "chain":
      return { chain: "general" };
    case "split":
      return {
        split: [
          { model, weight: 90 },
          { model, weight: 10 },
        ],
      };
    case "model":
      return { model };
  }
}

interface ChainEditorProps {
  ruleName: string;
  chain: readonly Step[];
  errorOf: (index: number) => string | undefined;
  disabled: boolean;
  onChange: (chain: Step[]) => void;
}

/** The steps of a chain, which can be dragged or moved by buttons. */
export function ChainEditor({ ruleName, chain, errorOf, disabled, onChange }: ChainEditorProps) {
  const [dragged, setDragged] = useState<number | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const [said, setSaid] = useState("");
  const firstModel = chain.find((step) => step.model)?.model ?? "default";
  const move = (from: number, to: number) => {
    onChange(moved(chain, from, to));
    setSaid(`Step ${from + 1} of ${ruleName} is step ${to + 1} now`);
  };
  const drop = (event: DragEvent, at: number) => {
    event.preventDefault();
    if (dragged !== null && dragged !== at) {
      move(dragged, at);
    }
    setDragged(null);
    setOver(null);
  };
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600}>
        Then plan with these, in this order
      </Text>
      <ol className="rule-list" aria-label={`Chain of ${ruleName}`}>
        {chain.map((step, index) => (
          <li
            key={index}
            className="chain-step"
            data-over={over === index || undefined}
            onDragOver={(event) => {
              if (dragged !== null) {
                event.preventDefault();
                setOver(index);
              }
            }}
            onDragLeave={() => setOver(null)}
            onDrop={(event) => drop(event, index)}
          >
            <Group gap="xs" wrap="nowrap" align="flex-start">
              <span
                className="drag-handle"
                draggable={!disabled}
                onDragStart={(event) => {
                  setDragged(index);
                  event.dataTransfer.effectAllowed = "move";
                  event.dataTransfer.setData("text/plain", String(index + 1));
                }}
                onDragEnd={() => {
                  setDragged(null);
                  setOver(null);
                }}
                aria-hidden
              >
                <DragIcon size={16} aria-hidden />
              </span>
              <Stack gap={6} flex={1} miw={0}>
                <Group gap="xs" wrap="nowrap" justify="space-between">
                  <NativeSelect
                    aria-label={`Kind of step ${index + 1} of ${ruleName}`}
                    size="xs"
                    data={KINDS}
                    value={kindOf(step)}
                    disabled={disabled}
                    onChange={(event) =>
                      onChange(
                        replaced(
                          chain,
                          index,
                          newStep(event.currentTarget.value as StepKind, step.model ?? firstModel),
                        ),
                      )
                    }
                  />
                  <StepButtons
                    name={`step ${index + 1} of ${ruleName}`}
                    first={index === 0}
                    last={index === chain.length - 1}
                    disabled={disabled}
                    onUp={() => move(index, index - 1)}
                    onDown={() => move(index, index + 1)}
                    onRemove={() => onChange(chain.filter((_, at) => at !== index))}
                  />
                </Group>
                <StepFields
                  name={`step ${index + 1} of ${ruleName}`}
                  step={step}
                  disabled={disabled}
                  onChange={(next) => onChange(replaced(chain, index, next))}
                />
                {errorOf(index) ? (
                  <Text size="sm" c="error">
                    {errorOf(index)}
                  </Text>
                ) : null}
              </Stack>
            </Group>
          </li>
        ))}
      </ol>
      <span role="status" hidden={said === ""}>
        <Text span size="xs" c="dimmed">
          {said}
        </Text>
      </span>
      {disabled || chain.length >= MOST_STEPS ? null : (
        <Group>
          <Button
            size="compact-sm"
            variant="default"
            leftSection={<PlusIcon size={14} aria-hidden />}
            onClick={() => onChange([...chain, { model: "default" }])}
            aria-label={`Add a step to ${ruleName}`}
          >
            Add step
          </Button>
        </Group>
      )}
    </Stack>
  );
}

interface StepButtonsProps {
  name: string;
  first: boolean;
  last: boolean;
  disabled: boolean;
  onUp: () => void;
  onDown: () => void;
  onRemove: () => void;
}

/** Buttons that do what dragging does, and remove. */
export function StepButtons({ name, first, last, disabled, onUp, onDown, onRemove }: StepButtonsProps) {
  const common = { variant: "subtle", color: "gray", size: "md" } as const;
  return (
    <Group gap={2} wrap="nowrap">
      <ActionIcon {...common} aria-label={`Move ${name} up`} disabled={disabled || first} onClick={onUp}>
        <UpIcon size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon {...common} aria-label={`Move ${name} down`} disabled={disabled || last} onClick={onDown}>
        <DownIcon size={16} aria-hidden />
      </ActionIcon>
      <ActionIcon {...common} aria-label={`Remove ${name}`} disabled={disabled} onClick={onRemove}>
        <DeleteIcon size={16} aria-hidden />
      </ActionIcon>
    </Group>
  );
}
