import { groupModels, useModels, useProviderNames } from "@/components/model-options";
import {
  Box,
  Input,
  MultiSelect,
  NumberInput,
  SegmentedControl,
  Select,
  Slider,
  Stack,
  TagsInput,
  TextInput,
} from "@/ui";
import type { Edits, Saved, Value } from "./edit";
import { inWords, positionOf, shown, tokensAt } from "./edit";
import type { Field } from "./fields";

interface FieldControlProps {
  field: Field;
  edits: Edits;
  saved: Saved;
  /** The value that is in force if nothing is set here; undefined if that is not known. */
  inherited: unknown;
  error: string | undefined;
  readOnly: boolean;
  onChange: (value: Value | null) => void;
}

interface ControlProps extends Pick<FieldControlProps, "field" | "error" | "readOnly" | "onChange"> {
  value: unknown;
  placeholder: string;
}

/** The control of one preference, with its label and what is wrong with it. */
export function FieldControl({
  field,
  edits,
  saved,
  inherited,
  error,
  readOnly,
  onChange,
}: FieldControlProps) {
  const value: unknown = shown(edits, saved, field.name);
  const placeholder =
    inherited === undefined
      ? "Not set here"
      : inherited === null
        ? "Not set"
        : `Inherited: ${inWords(inherited)}`;
  const common = { field, error, readOnly, onChange, value, placeholder };
  switch (field.kind) {
    case "model":
      return <ModelControl {...common} />;
    case "models":
      return <ModelsControl {...common} />;
    case "provider":
      return <ProviderControl {...common} />;
    case "flag":
      return <FlagControl {...common} inherited={inherited} />;
    case "temperature":
      return (
        <NumberControl
          {...common}
          least={0}
          most={2}
          step={0.1}
          decimals={2}
          toSlider={(number) => Math.round(number * 50)}
          fromSlider={(position) => position / 50}
          inherited={inherited}
        />
      );
    case "tokens":
      return (
        <NumberControl
          {...common}
          least={100}
          most={128_000}
          step={100}
          decimals={0}
          toSlider={positionOf}
          fromSlider={tokensAt}
          inherited={inherited}
        />
      );
    case "regions":
      return (
        <TagsInput
          label={field.label}
          description={field.help}
          placeholder={strings(value).length === 0 ? placeholder : undefined}
          value={strings(value)}
          onChange={(regions) => onChange(regions.length === 0 ? null : regions)}
          data={["eu", "us"]}
          error={error}
          disabled={readOnly}
        />
      );
    case "text":
      return (
        <TextInput
          label={field.label}
          description={field.help}
          placeholder={placeholder}
          value={typeof value === "string" ? value : ""}
          onChange={(event) => onChange(event.currentTarget.value || null)}
          error={error}
          disabled={readOnly}
        />
      );
    case "choice":
      return (
        <Select
          label={field.label}
          description={field.help}
          placeholder={placeholder}
          data={field.choices}
          value={typeof value === "string" ? value : null}
          onChange={(choice) => onChange((choice as Value | null) ?? null)}
          clearable
          error={error}
          disabled={readOnly}
        />
      );
  }
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === "string") : [];
}

function ModelControl({ field, value, placeholder, error, readOnly, onChange }: ControlProps) {
  const models = useModels();
  const current = typeof value === "string" ? value : null;
  return (
    <Select
      label={field.label}
      description={field.help}
      placeholder={placeholder}
      data={groupModels(models.data?.data ?? [], "chat", current ? [current] : [])}
      value={current}
      onChange={onChange}
      searchable
      clearable
      limit={100}
      nothingFoundMessage="No such model"
      error={error}
      disabled={readOnly}
    />
  );
}

function ModelsControl({ field, value, placeholder, error, readOnly, onChange }: ControlProps) {
  const models = useModels();
  const current = strings(value);
  return (
    <MultiSelect
      label={field.label}
      description={field.help}
      placeholder={current.length === 0 ? placeholder : undefined}
      data={groupModels(models.data?.data ?? [], "chat", current)}
      value={current}
      onChange={(names) => onChange(names.length === 0 ? null : names)}
      searchable
      hidePickedOptions
      maxValues={10}
      limit={100}
      nothingFoundMessage="No such model"
      error={error}
      disabled={readOnly}
    />
  );
}

function ProviderControl({ field, value, placeholder, error, readOnly, onChange }: ControlProps) {
  const { names } = useProviderNames();
  const current = typeof value === "string" ? value : null;
  const data = current && !names.some((each) => each.value === current) ? [...names, current] : names;
  return (
    <Select
      label={field.label}
      description={field.help}
      placeholder={placeholder}
      data={data}
      value={current}
      onChange={onChange}
      searchable
      clearable
      error={error}
      disabled={readOnly}
    />
  );
}

function FlagControl({
  field,
  value,
  error,
  readOnly,
  onChange,
  inherited,
}: ControlProps & { inherited: unknown }) {
  const unset = typeof inherited === "boolean" ? `Inherited (${inherited ? "on" : "off"})` : "Not set here";
  return (
    <Input.Wrapper label={field.label} labelElement="div" description={field.help} error={error}>
      <Box mt={4}>
        <SegmentedControl
          size="xs"
          aria-label={field.label}
          data={[
            { value: "", label: unset },
            { value: "on", label: "On" },
            { value: "off", label: "Off" },
          ]}
          value={value === true ? "on" : value === false ? "off" : ""}
          onChange={(choice) => onChange(choice === "" ? null : choice === "on")}
          disabled={readOnly}
        />
      </Box>
    </Input.Wrapper>
  );
}

interface NumberControlProps extends ControlProps {
  least: number;
  most: number;
  step: number;
  decimals: number;
  toSlider: (number: number) => number;
  fromSlider: (position: number) => number;
  inherited: unknown;
}

function NumberControl(props: NumberControlProps) {
  const { field, value, placeholder, error, readOnly, onChange, least, most, toSlider, fromSlider } = props;
  const current = typeof value === "number" ? value : null;
  const position = current ?? (typeof props.inherited === "number" ? props.inherited : least);
  return (
    <Stack gap={6}>
      <NumberInput
        label={field.label}
        description={field.help}
        placeholder={placeholder}
        value={current ?? ""}
        onChange={(number) => onChange(typeof number === "number" ? number : null)}
        min={least}
        max={most}
        step={props.step}
        decimalScale={props.decimals}
        thousandSeparator=","
        clampBehavior="blur"
        error={error}
        disabled={readOnly}
      />
      <Slider
        thumbLabel={`${field.label}, as a slider`}
        value={toSlider(position)}
        onChange={(at) => onChange(fromSlider(at))}
        scale={fromSlider}
        label={(number) => inWords(number)}
        min={0}
        max={100}
        disabled={readOnly}
        color={current === null ? "gray" : undefined}
        marks={[{ value: 0 }, { value: 50 }, { value: 100 }]}
      />
    </Stack>
  );
}
