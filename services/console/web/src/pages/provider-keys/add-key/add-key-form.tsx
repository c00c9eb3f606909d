import { type FormEvent, useRef, useState } from "react";
import { api, query, type Schemas } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useKeyActions } from "@/components/provider-keys/key-actions";
import { KeyField } from "@/components/provider-keys/key-field";
import {
  checkFormat,
  type FormatFinding,
  guessProvider,
  originOf,
  type Provider,
} from "@/components/provider-keys/key-format";
import { keyPart } from "@/components/provider-keys/send-key";
import { SettingsFields } from "@/components/provider-keys/settings-fields";
import { TestSteps } from "@/components/provider-keys/test-steps";
import { useAction } from "@/components/use-action";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Button,
  Checkbox,
  Collapse,
  ErrorNotice,
  Group,
  notify,
  QueryState,
  Select,
  Stack,
  Text,
  TextInput,
  useDisclosure,
} from "@/ui";
import { type FailurePolicy, FailurePolicyField } from "./failure-policy";
import { addBody, checkForm, EMPTY_FORM, filledFields, type KeyForm, tryBody } from "./key-form";
import { ProviderFields } from "./provider-fields";

interface AddKeyFormProps {
  initialProvider: string;
  onClose: () => void;
  onAdded: (keyId: string) => void;
}

/** The form of a new key, once it is known which providers there are. */
export function AddKeyForm(props: AddKeyFormProps) {
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  return (
    <QueryState what="the list of providers" query={providers} height={420}>
      {(page) => <Form {...props} providers={page.data} />}
    </QueryState>
  );
}

function Form({
  initialProvider,
  onClose,
  onAdded,
  providers,
}: AddKeyFormProps & { providers: readonly Provider[] }) {
  const tenant = useTenant();
  const { refresh } = useKeyActions();
  const intake = query.useQuery("get", "/api/v1/provider-keys/intake-key");
  const own = query.useQuery("get", "/api/v1/tenant");
  const field = useRef<HTMLInputElement>(null);
  const [form, setForm] = useState<KeyForm>({ ...EMPTY_FORM, provider: initialProvider });
  const [chosen, setChosen] = useState(initialProvider !== "");
  const [finding, setFinding] = useState<FormatFinding | null>(null);
  const [errors, setErrors] = useState<Readonly<Record<string, string>>>({});
  const [test, setTest] = useState<Schemas["KeyTest"] | null>(null);
  const [policy, setPolicy] = useState<FailurePolicy | null>(null);
  const [more, { toggle }] = useDisclosure(false);
  const provider = providers.find((each) => each.name === form.provider) ?? null;
  const currentPolicy = own.data?.key_policy ?? null;
  const shownPolicy: FailurePolicy =
    policy ?? (currentPolicy === "own_then_platform" ? currentPolicy : "own");

  const change = (patch: Partial<KeyForm>) => {
    setForm((before) => ({ ...before, ...patch }));
    if (Object.keys(patch).some((name) => ["provider", "baseUrl", "fields"].includes(name))) {
      setTest(null);
    }
  };
  const onKey = (key: string) => {
    setTest(null);
    const guessed = chosen ? provider : (guessProvider(key, providers) ?? provider);
    if (guessed && guessed !== provider) {
      change({ provider: guessed.name, label: form.label || guessed.title });
    }
    setFinding(guessed ? checkFormat(key, guessed, providers) : null);
  };
  const choose = (name: string | null) => {
    const next = providers.find((each) => each.name === name) ?? null;
    setChosen(true);
    change({ provider: name ?? "", label: form.label || (next?.title ?? "") });
    setFinding(next ? checkFormat(field.current?.value.trim() ?? "", next, providers) : null);
  };

  /** Return the provider and the key as it is sent; null if the form is not complete. */
  const prepare = async (withLabel: boolean) => {
    const key = field.current?.value.trim() ?? "";
    const found = checkForm(form, provider, intake.data?.private_networks ?? false);
    if (!withLabel) {
      delete found.label;
    }
    if (key === "" && provider?.key_optional === false) {
      setFinding({ kind: "refused", message: "Paste the key here." });
    }
    setErrors(found);
    const incomplete = Object.keys(found).length > 0 || finding?.kind === "refused" || key === "";
    if (incomplete || provider === null) {
      return null;
    }
    const origin = originOf(
      provider,
      form.baseUrl,
      filledFields(form, provider),
      intake.data?.base_urls ?? {},
    );
    return { provider, key: await keyPart(key, { tenant, provider: provider.name, origin }) };
  };
  const testing = useAction(async () => {
    setTest(null);
    const ready = await prepare(false);
    if (ready) {
      const answer = await api.POST("/api/v1/provider-keys/test", {
        body: tryBody(form, ready.provider, ready.key),
      });
      setTest(answer.data ?? null);
    }
  });
  const adding = useAction(async () => {
    const ready = await prepare(true);
    if (!ready) {
      return;
    }
    const { data } = await api.POST("/api/v1/provider-keys", {
      body: addBody(form, ready.provider, ready.key),
    });
    if (!data) {
      return;
    }
    if (field.current) {
      field.current.value = "";
    }
    if (policy !== null && policy !== currentPolicy) {
      await api.PATCH("/api/v1/tenant", { body: { key_policy: policy } });
    }
    await refresh();
    notify(`Added the key ${data.label}.`);
    onAdded(data.key_id);
  });
  const inconclusive =
    test?.result === "inconclusive" || (adding.error instanceof ApiError && adding.error.status === 503);
  const busy = testing.busy || adding.busy;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!busy) {
      void adding.run();
    }
  };
  return (
    <form onSubmit={submit} autoComplete="off" noValidate>
      <Stack gap="sm">
        <KeyField
          field={field}
          finding={finding}
          description={
            provider
              ? sentence(provider.key_description)
              : "Paste it: the provider is recognised by its form."
          }
          onInput={onKey}
        />
        <Select
          label="Provider"
          placeholder="Choose"
          required
          searchable
          data={providers.map((each) => ({ value: each.name, label: each.title }))}
          value={form.provider || null}
          error={errors.provider}
          onChange={choose}
        />
        <TextInput
          label="Name"
          description="Only for you, to tell keys apart"
          required
          maxLength={100}
          autoComplete="off"
          value={form.label}
          error={errors.label}
          onChange={(event) => change({ label: event.currentTarget.value })}
        />
        {provider ? (
          <ProviderFields provider={provider} form={form} errors={errors} onChange={change} />
        ) : null}
        <Group justify="space-between" gap="xs">
          <ActionButton
            operation="try_provider_key"
            variant="default"
            onClick={() => void testing.run()}
            loading={testing.busy}
            disabledReason={adding.busy ? "The key is being added." : undefined}
          >
            Test connection
          </ActionButton>
          <Text size="xs" c="dimmed">
            One call of one token, less than $0.0001.
          </Text>
        </Group>
        {test || testing.busy ? <TestSteps test={test} running={testing.busy} /> : null}
        {testing.error ? <ErrorNotice what="the test" error={testing.error} change /> : null}
        <FailurePolicyField value={shownPolicy} current={currentPolicy} onChange={setPolicy} />
        <Group>
          <Button variant="subtle" size="compact-sm" onClick={toggle} aria-expanded={more}>
            {more ? "Fewer settings" : "More settings"}
          </Button>
        </Group>
        <Collapse expanded={more}>
          {more ? (
            <SettingsFields values={form} errors={errors} models={test?.models ?? []} onChange={change} />
          ) : null}
        </Collapse>
        {more || inconclusive ? (
          <Checkbox
            label="Save it even if its test has no result"
            description="It is marked as untested, and tested again within an hour."
            checked={form.saveUntested}
            onChange={(event) => change({ saveUntested: event.currentTarget.checked })}
          />
        ) : null}
        {adding.error ? <ErrorNotice what="this key" error={adding.error} change /> : null}
        <Text size="xs" c="dimmed">
          {sealingNote(intake.data)}
        </Text>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <ActionButton operation="add_provider_key" type="submit" loading={adding.busy}>
            Add key
          </ActionButton>
        </Group>
      </Stack>
    </form>
  );
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

function sealingNote(intake: Schemas["IntakeKey"] | undefined): string {
  const never = "No page and no answer of the API ever shows it again.";
  return globalThis.crypto?.subtle && intake
    ? `The key is encrypted in this browser for the vault (its fingerprint: ${intake.fingerprint}). ${never}`
    : `The vault encrypts the key as soon as it arrives. ${never}`;
}
