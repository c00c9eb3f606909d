import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { Alert, Button, Code, ErrorNotice, Group, Modal, Stack, Text, Textarea } from "@/ui";
import { NEW_MODEL, parseModel } from "./model-json";

interface EditModelProps {
  /** The model to change; null for a new one. */
  state: Schemas["CatalogState"] | null;
  onClose: () => void;
}

/** Change the entry of a model as JSON, as `keyferry models save` takes it. */
export function EditModel({ state, onClose }: EditModelProps) {
  const cache = useQueryClient();
  const [json, setJson] = useState(() => JSON.stringify(state?.model ?? NEW_MODEL, null, 2));
  const [problem, setProblem] = useState<string | null>(null);
  const saving = query.useMutation("put", "/api/v1/ops/models", {
    onSuccess: (saved) => {
      void cache.invalidateQueries();
      if ((saved.warnings ?? []).length === 0) {
        onClose();
      }
    },
  });
  const save = () => {
    const parsed = parseModel(json);
    setProblem(parsed.problem);
    if (parsed.model) {
      saving.mutate({ body: { model: parsed.model, expected_revision: state?.revision ?? null } });
    }
  };
  const warnings = saving.data?.warnings ?? [];
  return (
    <Modal opened onClose={onClose} size="xl" title={state ? `Edit ${state.model.title}` : "Add a model"}>
      <Stack>
        <Text size="sm" c="dimmed">
          The fields are those of a model in <Code>docs/architecture/openapi.json</Code>. Somebody who has
          saved it in the meantime is not overwritten.
        </Text>
        <Textarea
          label="Entry of the catalog"
          value={json}
          error={problem}
          onChange={(event) => setJson(event.currentTarget.value)}
          autosize
          minRows={14}
          maxRows={26}
          ff="monospace"
          spellCheck={false}
          data-autofocus
        />
        {saving.error ? <ErrorNotice what="the model" error={saving.error} change /> : null}
        {warnings.length > 0 ? (
          <Alert color="yellow" variant="outline" title="Saved, with warnings" role="status">
            {warnings.map((warning) => (
              <Text size="sm" key={warning}>
                {warning}
              </Text>
            ))}
          </Alert>
        ) : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {warnings.length > 0 ? "Close" : "Cancel"}
          </Button>
          <Button onClick={save} loading={saving.isPending}>
            Save model
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
