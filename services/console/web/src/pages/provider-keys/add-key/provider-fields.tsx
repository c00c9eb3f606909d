import type { Provider } from "@/components/provider-keys/key-format";
import { Anchor, Stack, Text, TextInput } from "@/ui";
import type { KeyForm } from "./key-form";

interface ProviderFieldsProps {
  provider: Provider;
  form: KeyForm;
  errors: Readonly<Record<string, string>>;
  onChange: (patch: Partial<KeyForm>) => void;
}

/** What the provider needs besides the key: its address, region, project or deployment. */
export function ProviderFields({ provider, form, errors, onChange }: ProviderFieldsProps) {
  const ownServer = provider.base_url === null;
  return (
    <Stack gap="sm">
      {ownServer ? (
        <>
          <TextInput
            label="Base URL"
            description="With its version, without /chat/completions. Private addresses are refused unless the operator allows their network."
            placeholder="https://llm.example.com/v1"
            required
            inputMode="url"
            autoComplete="off"
            value={form.baseUrl}
            error={errors.baseUrl}
            onChange={(event) => onChange({ baseUrl: event.currentTarget.value.trim() })}
          />
          <TextInput
            label="Server name"
            description="Its models are called NAME/MODEL. Empty: the provider's name."
            autoComplete="off"
            value={form.name}
            error={errors.name}
            onChange={(event) => onChange({ name: event.currentTarget.value.trim() })}
          />
        </>
      ) : null}
      {provider.fields.map((field) => (
        <TextInput
          key={field.name}
          label={fieldLabel(field.name)}
          description={field.description}
          placeholder={field.example}
          required={field.required}
          autoComplete="off"
          value={form.fields[field.name] ?? ""}
          error={errors[`field:${field.name}`]}
          onChange={(event) =>
            onChange({ fields: { ...form.fields, [field.name]: event.currentTarget.value.trim() } })
          }
        />
      ))}
      {provider.key_url && !ownServer ? (
        <Text size="xs">
          No key yet?{" "}
          <Anchor href={provider.key_url} target="_blank" rel="noreferrer" inherit underline="always">
            Create one at {provider.title}
          </Anchor>
          .
        </Text>
      ) : null}
    </Stack>
  );
}

/** Return the name of a field for people: `api_version` is "Api version". */
export function fieldLabel(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
