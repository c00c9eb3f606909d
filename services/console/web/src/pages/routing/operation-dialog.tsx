import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { ApiError } from "@/api/errors";
import { groupModels, useModels } from "@/components/model-options";
import { ownValue } from "@/components/own-value";
import { ActionButton, Alert, Button, ErrorNotice, Group, Modal, notify, Radio, Select, Stack } from "@/ui";

type InForce = Schemas["PreferencesInForce"];
type Mode = Schemas["RoutingMode"];

const MODES: readonly { value: string; label: string; description: string }[] = [
  { value: "", label: "Not set", description: "The broader setting decides." },
  { value: "platform", label: "Platform", description: "The platform's keys serve, and your credits pay." },
  { value: "byok", label: "BYOK", description: "Your own provider keys serve." },
  { value: "custom", label: "Custom endpoint", description: "Your own endpoints and servers serve." },
];
const CONFLICT = 409;

interface OperationDialogProps {
  /** Empty for the tenant as a whole. */
  operation: string;
  preferences: InForce;
  onClose: () => void;
  onReload: () => Promise<unknown>;
}

/** Set the mode, and for an operation also the model, among the tenant's preferences. */
export function OperationDialog({ operation, preferences, onClose, onReload }: OperationDialogProps) {
  const { saved } = preferences;
  const modes = (saved.mode_by_operation ?? {}) as Record<string, Mode>;
  const modelsBy = (saved.model_by_operation ?? {}) as Record<string, string>;
  const [mode, setMode] = useState<string>((operation ? ownValue(modes, operation) : saved.mode) ?? "");
  const [model, setModel] = useState<string | null>(ownValue(modelsBy, operation) ?? null);
  const models = useModels();
  const save = query.useMutation("put", "/api/v1/preferences");
  const conflict = save.error instanceof ApiError && save.error.status === CONFLICT;
  const submit = async () => {
    const body: Schemas["PreferencesBody"] = operation
      ? {
          ...saved,
          mode_by_operation: withEntry(modes, operation, mode),
          model_by_operation: withEntry(modelsBy, operation, model ?? ""),
        }
      : { ...saved, mode: (mode || null) as Mode | null };
    try {
      await save.mutateAsync({ params: { query: {} }, body: { ...body, revision: preferences.revision } });
      notify("Saved. It holds within a second.");
      await onReload();
      onClose();
    } catch (error) {
      if (error instanceof ApiError && error.status === CONFLICT) {
        await onReload();
      }
    }
  };
  return (
    <Modal
      opened
      onClose={onClose}
      title={operation ? `Mode and model of ${operation}` : "Mode of the tenant"}
    >
      <Stack>
        <Radio.Group label="Whose keys serve" value={mode} onChange={setMode}>
          <Stack gap="xs" mt="xs">
            {MODES.map((each) => (
              <Radio key={each.value} value={each.value} label={each.label} description={each.description} />
            ))}
          </Stack>
        </Radio.Group>
        {operation ? (
          <Select
            label="Model of “default”"
            description="For requests of this operation that name the model default."
            placeholder="As everywhere"
            data={groupModels(models.data?.data ?? [], "any", model ? [model] : [])}
            value={model}
            onChange={setModel}
            searchable
            clearable
            limit={100}
          />
        ) : null}
        {conflict ? (
          <Alert
            color="yellow"
            variant="outline"
            title="Somebody has saved preferences meanwhile"
            role="alert"
          >
            They are loaded now, and what you chose is still here. Save again to change only this.
          </Alert>
        ) : save.error ? (
          <ErrorNotice what="this setting" error={save.error} change />
        ) : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <ActionButton operation="save_preferences" loading={save.isPending} onClick={() => void submit()}>
            Save
          </ActionButton>
        </Group>
      </Stack>
    </Modal>
  );
}

function withEntry<T extends string>(
  map: Readonly<Record<string, T>>,
  name: string,
  value: string,
): Record<string, T> {
  const { [name]: _, ...others } = map;
  return (value === "" ? others : { ...others, [name]: value }) as Record<string, T>;
}
