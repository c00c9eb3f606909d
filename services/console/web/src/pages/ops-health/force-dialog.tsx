import { useState } from "react";
import { query } from "@/api/client";
import type { HealthGroup } from "@/components/health-groups";
import { countOf } from "@/format/numbers";
import { Button, ErrorNotice, Group, Modal, NativeSelect, notify, Radio, Stack, Text, Textarea } from "@/ui";
import { DURATIONS, EMPTY_FORM, type ForceForm, forceBody } from "./force-body";

const LONGEST_REASON = 200;

interface ForceDialogProps {
  group: HealthGroup;
  onClose: () => void;
  onDone: () => void;
}

/** Force the circuits of an address open or closed, for a time and with a reason, which the audit log keeps. */
export function ForceDialog({ group, onClose, onDone }: ForceDialogProps) {
  const [form, setForm] = useState<ForceForm>(EMPTY_FORM);
  const force = query.useMutation("post", "/api/v1/ops/health/force");
  const set = (patch: Partial<ForceForm>) => setForm((before) => ({ ...before, ...patch }));
  const body = forceBody(group, form);
  const models = [...new Set(group.targets.map(({ target }) => target.model))].toSorted();
  const attempts = group.targets
    .filter(({ target }) => !target.key_id && (form.model === "" || target.model === form.model))
    .reduce((sum, health) => sum + (health.samples ?? 0), 0);
  const save = () => {
    if (body) {
      force.mutate(
        { body },
        {
          onSuccess: () => {
            notify(`The circuit of ${group.name} is forced ${form.state}.`);
            onDone();
          },
        },
      );
    }
  };
  return (
    <Modal opened onClose={onClose} title={`Force the circuit of ${group.name}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        <Stack>
          <Radio.Group
            label="State"
            value={form.state}
            onChange={(value) => set({ state: value === "closed" ? "closed" : "open" })}
          >
            <Stack gap="xs" mt="xs">
              <Radio value="open" label="Open: keep requests away" data-autofocus />
              <Radio value="closed" label="Closed: send requests, although attempts fail" />
            </Stack>
          </Radio.Group>
          <NativeSelect
            label="Model"
            value={form.model}
            onChange={(event) => set({ model: event.currentTarget.value })}
            data={[
              { value: "", label: "All models" },
              ...models.map((model) => ({ value: model, label: model })),
            ]}
          />
          <NativeSelect
            label="For"
            value={form.seconds}
            onChange={(event) => set({ seconds: event.currentTarget.value })}
            data={DURATIONS.map(({ value, label }) => ({ value, label }))}
          />
          <Textarea
            label="Reason"
            description="For the audit log, and for those whose requests these are"
            required
            maxLength={LONGEST_REASON}
            value={form.reason}
            onChange={(event) => set({ reason: event.currentTarget.value })}
          />
          <Text size="sm">
            {form.state === "open"
              ? `${countOf(attempts, "attempt")} went there within five minutes. Requests go to other candidates instead; those that have none are refused.`
              : `${countOf(attempts, "attempt")} went there within five minutes. Failures do not open the circuit until this ends.`}
          </Text>
          {force.error ? <ErrorNotice what="the override" error={force.error} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" color="red.9" disabled={body === null} loading={force.isPending}>
              Force {form.state}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
