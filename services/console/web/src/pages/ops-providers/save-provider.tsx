import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { asApiError } from "@/api/errors";
import { Button, ErrorNotice, Group, Modal, Select, Stack, Switch, TagsInput, TextInput } from "@/ui";

type Body = Schemas["SaveProviderBody"];
const APIS = [
  { value: "generic", label: "OpenAI-compatible" },
  { value: "vllm", label: "vLLM" },
  { value: "ollama", label: "Ollama" },
  { value: "llamacpp", label: "llama.cpp" },
] as const;

interface SaveProviderProps {
  /** The provider to change; null for a new one. */
  provider: Schemas["ProviderState"] | null;
  onClose: () => void;
}

/** Add a provider with an OpenAI-compatible API, or change one that was added. */
export function SaveProvider({ provider, onClose }: SaveProviderProps) {
  const cache = useQueryClient();
  const [name, setName] = useState(provider?.name ?? "");
  const added = provider?.entry?.added;
  const [body, setBody] = useState<Body>({
    title: added?.title ?? "",
    base_url: added?.base_url ?? "https://",
    api: added?.api ?? "generic",
    eu: added?.eu ?? false,
    key_optional: added?.key_optional ?? false,
    key_url: added?.key_url ?? null,
    docs_url: added?.docs_url ?? null,
    prefixes: added?.prefixes ?? [],
    test_model: added?.test_model ?? null,
  });
  const saving = query.useMutation("put", "/api/v1/ops/providers/{name}", {
    onSuccess: () => {
      void cache.invalidateQueries();
      onClose();
    },
  });
  const refused = saving.error ? asApiError(saving.error) : null;
  const errorOf = (field: string) => (refused?.field?.endsWith(field) ? refused.message : null);
  const set = (patch: Partial<Body>) => setBody((before) => ({ ...before, ...patch }));
  const shownAtField = ["title", "base_url", "name", "test_model", "prefixes"].some((field) =>
    errorOf(field),
  );
  return (
    <Modal opened onClose={onClose} title={provider ? `Edit ${provider.title}` : "Add a provider"}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          saving.mutate({ params: { path: { name } }, body });
        }}
      >
        <Stack>
          <TextInput
            label="Name in requests"
            description="Lower-case letters, digits and hyphens"
            required
            disabled={provider !== null}
            value={name}
            error={errorOf("name")}
            onChange={(event) => setName(event.currentTarget.value.trim())}
            data-autofocus
          />
          <TextInput
            label="Name to show"
            required
            value={body.title}
            error={errorOf("title")}
            onChange={(event) => set({ title: event.currentTarget.value })}
          />
          <TextInput
            label="Base URL"
            description="The address before /chat/completions; keys are only ever sent there"
            required
            value={body.base_url}
            error={errorOf("base_url")}
            onChange={(event) => set({ base_url: event.currentTarget.value.trim() })}
          />
          <Select
            label="API"
            data={APIS}
            value={body.api ?? "generic"}
            allowDeselect={false}
            onChange={(value) => set({ api: APIS.find((each) => each.value === value)?.value ?? "generic" })}
          />
          <TagsInput
            label="Beginnings of its keys"
            description="Such as sk-; a key with another beginning is warned about"
            value={[...(body.prefixes ?? [])]}
            error={errorOf("prefixes")}
            onChange={(prefixes) => set({ prefixes })}
          />
          <TextInput
            label="Model for tests of keys"
            value={body.test_model ?? ""}
            error={errorOf("test_model")}
            onChange={(event) => set({ test_model: event.currentTarget.value.trim() || null })}
          />
          <TextInput
            label="Where people get a key"
            placeholder="https://"
            value={body.key_url ?? ""}
            onChange={(event) => set({ key_url: event.currentTarget.value.trim() || null })}
          />
          <Group>
            <Switch
              label="Processes in the EU"
              checked={body.eu ?? false}
              onChange={(event) => set({ eu: event.currentTarget.checked })}
            />
            <Switch
              label="Needs no key"
              checked={body.key_optional ?? false}
              onChange={(event) => set({ key_optional: event.currentTarget.checked })}
            />
          </Group>
          {refused && !shownAtField ? <ErrorNotice what="the provider" error={refused} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={saving.isPending}>
              Save provider
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
