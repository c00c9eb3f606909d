import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { api } from "@/api/client";
import { groupModels, useModels } from "@/components/model-options";
import { useTenant } from "@/session/session";
import { Button, Group, List, Modal, QueryState, Select, Stack, StatusMark, Text } from "@/ui";

const INPUT_TOKENS = 1000;
const CHOICES = {
  group: "The gateway's choice",
  items: ["default", "auto", "eco", "balanced", "precision"].map((value) => ({ value, label: value })),
};

/** What the router would decide about a request of an operation now, in words. Nothing is sent. */
export function ExplainDialog({ operation, onClose }: { operation: string; onClose: () => void }) {
  const tenant = useTenant();
  const [model, setModel] = useState("default");
  const models = useModels();
  const explained = useQuery({
    queryKey: ["explain route", tenant, operation, model],
    queryFn: async () => {
      const body = { model, input_tokens: INPUT_TOKENS, ...(operation ? { operation } : {}) };
      const { data } = await api.POST("/api/v1/routing/explain", { body });
      if (data === undefined) {
        throw new Error("an answer without a body");
      }
      return data.explained;
    },
    staleTime: 0,
  });
  return (
    <Modal
      opened
      onClose={onClose}
      title={`What would run for ${operation || "a request without an operation"}?`}
      size="lg"
    >
      <Stack>
        <Select
          label="Model that the request names"
          data={[CHOICES, ...groupModels(models.data?.data ?? [], "any")]}
          value={model}
          onChange={(name) => setModel(name ?? "default")}
          allowDeselect={false}
          searchable
          limit={100}
        />
        <QueryState what="the decision" query={explained} height={180}>
          {(found) => (
            <Stack gap="xs">
              <StatusMark kind={found.chosen ? "ok" : "error"}>
                {found.chosen ? `${found.chosen} would answer` : "The request would be refused"}
              </StatusMark>
              <List size="sm" type="ordered" spacing={4}>
                {found.steps.map((step) => (
                  <List.Item key={`${step.kind} ${step.text}`}>
                    {step.text}
                    {step.removed ? ` (${step.removed} removed, ${step.left ?? 0} left)` : ""}
                    {step.examples && step.examples.length > 0 ? (
                      <Text span size="xs" c="dimmed">
                        {" "}
                        {step.examples.join("; ")}
                      </Text>
                    ) : null}
                  </List.Item>
                ))}
              </List>
            </Stack>
          )}
        </QueryState>
        <Text size="xs" c="dimmed">
          For a prompt of about {INPUT_TOKENS} tokens, as of now, with today's health. Nothing is sent and
          nothing is charged.
        </Text>
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Close
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
