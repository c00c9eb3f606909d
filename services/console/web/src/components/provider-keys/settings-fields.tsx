import { Group, NumberInput, SimpleGrid, Stack, TagsInput, Text, TextInput } from "@/ui";
import { ScopeField } from "./scope-fields";
import type { KeySettings } from "./settings";

type Shared = Omit<KeySettings, "label" | "name">;

interface SettingsFieldsProps {
  values: Shared;
  errors: Readonly<Record<string, string>>;
  /** Models of the provider, to choose from. */
  models: readonly string[];
  onChange: (patch: Partial<Shared>) => void;
}

/** The settings that every key has: for whom it pays, how often, for what and until when. */
export function SettingsFields({ values, errors, models, onChange }: SettingsFieldsProps) {
  return (
    <Stack gap="sm">
      <ScopeField team={values.team} member={values.member} onChange={onChange} />
      <SimpleGrid cols={{ base: 1, xs: 2 }} spacing="sm">
        <NumberInput
          label="Priority"
          description="Lower numbers are used first"
          min={0}
          max={1000}
          allowDecimal={false}
          value={values.priority}
          onChange={(value) => onChange({ priority: typeof value === "number" ? value : 100 })}
        />
        <NumberInput
          label="Weight"
          description="Share among keys of one priority"
          min={1}
          max={1000}
          allowDecimal={false}
          value={values.weight}
          onChange={(value) => onChange({ weight: typeof value === "number" ? value : 1 })}
        />
        <TextInput
          label="Limit per month"
          description="US dollars, empty for none"
          inputMode="decimal"
          leftSection={
            <Text size="sm" aria-hidden>
              $
            </Text>
          }
          value={values.limit}
          error={errors.limit}
          onChange={(event) => onChange({ limit: event.currentTarget.value })}
        />
        <TextInput
          type="datetime-local"
          label="Expires"
          description="Empty for never"
          value={values.expires}
          error={errors.expires}
          onChange={(event) => onChange({ expires: event.currentTarget.value })}
        />
      </SimpleGrid>
      <Group grow>
        <TagsInput
          label="Only for these models"
          description="Empty for all that the key can reach"
          data={[...new Set(models)]}
          value={[...values.models]}
          onChange={(chosen) => onChange({ models: chosen })}
        />
      </Group>
    </Stack>
  );
}
