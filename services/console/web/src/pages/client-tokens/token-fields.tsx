import { query, type Schemas } from "@/api/client";
import { MultiSelect, NumberInput, SimpleGrid, Stack, TagsInput, TextInput } from "@/ui";
import type { TokenForm } from "./token-form";

const APIS: readonly { value: Schemas["ClientApi"]; label: string }[] = [
  { value: "chat", label: "Chat" },
  { value: "embeddings", label: "Embeddings" },
  { value: "models", label: "List of models" },
];

interface TokenFieldsProps {
  form: TokenForm;
  onChange: (patch: Partial<TokenForm>) => void;
}

/** What a token may do, until when, and how often. Empty fields limit nothing. */
export function TokenFields({ form, onChange }: TokenFieldsProps) {
  const models = query.useQuery("get", "/api/v1/models", { params: { query: { limit: 1000 } } });
  const names = [...new Set(models.data?.data.map((each) => each.id) ?? [])];
  const limit = (name: "rpm" | "tpm" | "concurrency", label: string) => (
    <NumberInput
      label={label}
      min={1}
      allowDecimal={false}
      thousandSeparator=","
      placeholder="the tenant's"
      value={form[name] ?? ""}
      onChange={(value) => onChange({ [name]: typeof value === "number" ? value : null })}
    />
  );
  return (
    <Stack gap="sm">
      <TextInput
        label="Name"
        description="The program that uses it"
        required
        maxLength={100}
        autoComplete="off"
        data-autofocus
        value={form.label}
        onChange={(event) => onChange({ label: event.currentTarget.value })}
      />
      <TextInput
        type="datetime-local"
        label="Expires"
        description="Empty for never"
        value={form.expires}
        onChange={(event) => onChange({ expires: event.currentTarget.value })}
      />
      <TagsInput
        label="Models"
        description="Empty for all"
        data={names}
        value={[...form.models]}
        onChange={(values) => onChange({ models: values })}
      />
      <TagsInput
        label="Operations"
        description="Values of the header X-Operation; empty for any, and for none"
        value={[...form.operations]}
        onChange={(values) => onChange({ operations: values })}
      />
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <MultiSelect
          label="APIs"
          description="Empty for all"
          data={[...APIS]}
          value={[...form.apis]}
          onChange={(values) =>
            onChange({ apis: APIS.map((each) => each.value).filter((each) => values.includes(each)) })
          }
        />
        <TagsInput
          label="Web pages"
          description="Origins such as https://help.example.com"
          value={[...form.origins]}
          onChange={(values) => onChange({ origins: values })}
        />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 3 }}>
        {limit("rpm", "Requests per minute")}
        {limit("tpm", "Tokens per minute")}
        {limit("concurrency", "At the same time")}
      </SimpleGrid>
    </Stack>
  );
}
