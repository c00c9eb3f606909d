import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { Checkbox, ConfirmDialog, Stack, Text, TextInput } from "@/ui";

interface RetireModelProps {
  state: Schemas["CatalogState"];
  onClose: () => void;
}

/** Ask before a model is retired, and for what replaces it. */
export function RetireModel({ state, onClose }: RetireModelProps) {
  const cache = useQueryClient();
  const [replacement, setReplacement] = useState("");
  const [serve, setServe] = useState(false);
  const retirement = query.useMutation("post", "/api/v1/ops/models/retire", {
    onSuccess: () => {
      void cache.invalidateQueries();
      onClose();
    },
  });
  return (
    <ConfirmDialog
      opened
      title={`Retire ${state.model.title}?`}
      verb="Retire model"
      busy={retirement.isPending}
      error={retirement.error}
      onClose={onClose}
      onConfirm={() =>
        retirement.mutate({
          body: {
            id: state.model.id,
            replacement: replacement || null,
            serve_replacement: replacement !== "" && serve,
          },
        })
      }
    >
      <Stack gap="sm">
        <Text size="sm">
          Requests that name it are refused, with its replacement in the message, unless the replacement
          answers them.
        </Text>
        <TextInput
          label="Replacement"
          description="The id of another model"
          value={replacement}
          onChange={(event) => setReplacement(event.currentTarget.value.trim())}
        />
        <Checkbox
          label="Let the replacement answer requests that name it"
          checked={serve}
          disabled={replacement === ""}
          onChange={(event) => setServe(event.currentTarget.checked)}
        />
      </Stack>
    </ConfirmDialog>
  );
}
