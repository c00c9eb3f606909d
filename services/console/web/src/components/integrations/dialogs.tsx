import { type FormEvent, useRef, useState } from "react";
import { KeyField } from "@/components/provider-keys/key-field";
import { useAction } from "@/components/use-action";
import {
  Button,
  ConfirmDialog,
  ErrorNotice,
  Group,
  Modal,
  notify,
  Radio,
  Select,
  Stack,
  Text,
  TextInput,
} from "@/ui";
import { type IntegrationKind, type IntegrationSecret, KINDS, type Owner } from "./kinds";
import { useIntegrationActions } from "./use-integrations";

const OVERLAPS = [
  { value: "86400", label: "For one day", description: "Time to change it everywhere." },
  { value: "604800", label: "For seven days", description: "" },
  { value: "0", label: "Not at all", description: "If the old one has leaked: it is destroyed at once." },
];

interface AddDialogProps {
  owner: Owner;
  kinds: readonly IntegrationKind[];
  onClose: () => void;
}

/** Add a secret; what is typed is in the field alone, and leaves the page sealed. */
export function AddIntegrationDialog({ owner, kinds, onClose }: AddDialogProps) {
  const actions = useIntegrationActions(owner);
  const field = useRef<HTMLInputElement>(null);
  const [kind, setKind] = useState<IntegrationKind | null>(kinds[0] ?? null);
  const [name, setName] = useState("main");
  const [missing, setMissing] = useState(false);
  const adding = useAction(async () => {
    const secret = field.current?.value.trim() ?? "";
    if (kind === null || secret === "") {
      setMissing(secret === "");
      return;
    }
    await actions.add(kind, name.trim(), secret);
    notify(`Added: ${KINDS[kind].name}.`);
    onClose();
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!adding.busy) {
      void adding.run();
    }
  };
  return (
    <Modal opened onClose={onClose} title="Add an integration">
      <form onSubmit={submit} autoComplete="off" noValidate>
        <Stack gap="sm">
          <Select
            label="Kind"
            data={kinds.map((each) => ({ value: each, label: KINDS[each].name }))}
            value={kind}
            allowDeselect={false}
            onChange={(value) => setKind(kinds.find((each) => each === value) ?? null)}
            data-autofocus
          />
          <TextInput
            label="Name"
            description="For people, where there are several"
            required
            maxLength={100}
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
          />
          <KeyField
            field={field}
            label="Secret"
            noun="secret"
            description={kind === null ? "" : KINDS[kind].hint}
            finding={missing ? { kind: "refused", message: "Paste the secret here." } : null}
            onInput={() => setMissing(false)}
          />
          {adding.error ? <ErrorNotice what="the new integration" error={adding.error} change /> : null}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={adding.busy}>
              Add integration
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

interface ChangeDialogProps {
  owner: Owner;
  secret: IntegrationSecret;
  onClose: () => void;
}

/** Replace a secret; the old version stays valid for a while. */
export function RotateIntegrationDialog({ owner, secret, onClose }: ChangeDialogProps) {
  const actions = useIntegrationActions(owner);
  const field = useRef<HTMLInputElement>(null);
  const [overlap, setOverlap] = useState("86400");
  const [missing, setMissing] = useState(false);
  const rotating = useAction(async () => {
    const text = field.current?.value.trim() ?? "";
    if (text === "") {
      setMissing(true);
      return;
    }
    await actions.rotate(secret, text, Number(overlap));
    notify(`Rotated ${secret.name}.`);
    onClose();
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!rotating.busy) {
      void rotating.run();
    }
  };
  return (
    <Modal opened onClose={onClose} title={`Rotate “${secret.name}”`}>
      <form onSubmit={submit} autoComplete="off" noValidate>
        <Stack gap="sm">
          <KeyField
            field={field}
            label="New secret"
            noun="secret"
            description={`In place of ${secret.masked}. ${KINDS[secret.kind].hint}`}
            finding={missing ? { kind: "refused", message: "Paste the new secret here." } : null}
            onInput={() => setMissing(false)}
          />
          <Radio.Group label="How long is the old one still valid?" value={overlap} onChange={setOverlap}>
            <Stack gap="xs" mt="xs">
              {OVERLAPS.map((each) => (
                <Radio
                  key={each.value}
                  value={each.value}
                  label={each.label}
                  description={each.description}
                />
              ))}
            </Stack>
          </Radio.Group>
          {rotating.error ? <ErrorNotice what="the rotation" error={rotating.error} change /> : null}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={rotating.busy}>
              Rotate secret
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** Destroy a secret with all its versions. */
export function RemoveIntegrationDialog({ owner, secret, onClose }: ChangeDialogProps) {
  const actions = useIntegrationActions(owner);
  const removing = useAction(async () => {
    await actions.remove(secret);
    notify(`Removed ${secret.name}.`);
    onClose();
  });
  return (
    <ConfirmDialog
      opened
      title={`Remove “${secret.name}”?`}
      verb="Remove integration"
      typeToConfirm={secret.name}
      busy={removing.busy}
      error={removing.error}
      onConfirm={() => void removing.run()}
      onClose={onClose}
    >
      <Text size="sm">
        {KINDS[secret.kind].name}, {secret.masked}: it is destroyed with all its versions. What uses it stops
        working within ten seconds.
      </Text>
    </ConfirmDialog>
  );
}
