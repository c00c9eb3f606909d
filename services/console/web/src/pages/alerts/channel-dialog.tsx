import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import {
  Button,
  ErrorNotice,
  Group,
  Modal,
  NativeSelect,
  notify,
  Stack,
  Switch,
  Text,
  Textarea,
  TextInput,
} from "@/ui";
import {
  type ChannelErrors,
  type ChannelForm,
  type ChannelKind,
  EMPTY_CHANNEL,
  formOfChannel,
  KIND_WORDS,
  readChannel,
} from "./channel-form";

interface ChannelDialogProps {
  /** The channel that is changed; without it a new one is added. */
  channel?: Schemas["NotificationChannel"];
  onClose: () => void;
}

/** Add a channel, or change one. */
export function ChannelDialog({ channel, onClose }: ChannelDialogProps) {
  const [form, setForm] = useState<ChannelForm>(channel ? formOfChannel(channel) : EMPTY_CHANNEL);
  const [errors, setErrors] = useState<ChannelErrors>({});
  const queries = useQueryClient();
  const onSuccess = (saved: Schemas["NotificationChannel"]) => {
    notify(`The channel "${saved.name}" is saved.`);
    void queries.invalidateQueries({
      predicate: ({ queryKey }) => queryKey[1] === "/api/v1/notification-channels",
    });
    onClose();
  };
  const add = query.useMutation("post", "/api/v1/notification-channels", { onSuccess });
  const change = query.useMutation("put", "/api/v1/notification-channels/{channel_id}", { onSuccess });
  const edit = (patch: Partial<ChannelForm>) => {
    setForm({ ...form, ...patch });
    setErrors({});
  };
  const submit = () => {
    const read = readChannel(form);
    if ("errors" in read) {
      setErrors(read.errors);
    } else if (channel) {
      const { channel_id, revision } = channel;
      change.mutate({ params: { path: { channel_id } }, body: { ...read.body, revision } });
    } else {
      add.mutate({ body: read.body });
    }
  };
  const error = add.error ?? change.error;
  return (
    <Modal opened onClose={onClose} title={channel ? "Change the channel" : "Add a channel"}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack gap="sm">
          <TextInput
            label="Name"
            value={form.name}
            onChange={(event) => edit({ name: event.currentTarget.value })}
            error={errors.name}
            maxLength={100}
            required
            data-autofocus
          />
          {channel ? null : (
            <NativeSelect
              label="Kind"
              value={form.kind}
              onChange={(event) => edit({ kind: event.currentTarget.value as ChannelKind })}
              data={Object.entries(KIND_WORDS).map(([value, label]) => ({ value, label }))}
            />
          )}
          <ChannelTarget form={form} errors={errors} edit={edit} />
          {form.kind === "webhook" ? null : (
            <>
              <Switch
                label="Quiet hours"
                description="Only critical alerts pass; the others follow together at the end."
                checked={form.quiet}
                onChange={(event) => edit({ quiet: event.currentTarget.checked })}
              />
              {form.quiet ? (
                <Group grow align="flex-start">
                  <TextInput
                    label="From"
                    value={form.quietBegin}
                    onChange={(event) => edit({ quietBegin: event.currentTarget.value })}
                    error={errors.quietBegin}
                  />
                  <TextInput
                    label="Until"
                    value={form.quietEnd}
                    onChange={(event) => edit({ quietEnd: event.currentTarget.value })}
                  />
                </Group>
              ) : null}
            </>
          )}
          <Switch
            label="Usual: it gets the alerts of rules that name no channel"
            checked={form.usual}
            onChange={(event) => edit({ usual: event.currentTarget.checked })}
          />
          <Switch
            label="In use"
            checked={form.enabled}
            onChange={(event) => edit({ enabled: event.currentTarget.checked })}
          />
          {error ? <ErrorNotice what="the channel" error={error} change /> : null}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={add.isPending || change.isPending}>
              {channel ? "Save channel" : "Add channel"}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

interface ChannelTargetProps {
  form: ChannelForm;
  errors: ChannelErrors;
  edit: (patch: Partial<ChannelForm>) => void;
}

function ChannelTarget({ form, errors, edit }: ChannelTargetProps) {
  const secrets = query.useQuery("get", "/api/v1/integrations", {}, { enabled: form.kind === "slack" });
  const endpoints = query.useQuery("get", "/api/v1/webhooks", {}, { enabled: form.kind === "webhook" });
  switch (form.kind) {
    case "email":
      return (
        <>
          <Textarea
            label="Addresses"
            value={form.recipients}
            onChange={(event) => edit({ recipients: event.currentTarget.value })}
            error={errors.recipients}
            required
          />
          <Text size="sm" c="dimmed">
            Members receive alerts at once, any other address once the code that is sent to it is entered.
          </Text>
        </>
      );
    case "slack":
      return (
        <NativeSelect
          label="Incoming webhook"
          description="Add its address under Integrations."
          value={form.secretId}
          onChange={(event) => edit({ secretId: event.currentTarget.value })}
          error={errors.secretId}
          data={[
            { value: "", label: "Choose" },
            ...(secrets.data?.secrets ?? [])
              .filter(({ kind }) => kind === "slack_webhook_url")
              .map((each) => ({ value: each.secret_id, label: `${each.name} ${each.masked}` })),
          ]}
        />
      );
    default:
      return (
        <NativeSelect
          label="Endpoint"
          description="Add it under Webhooks."
          value={form.endpointId}
          onChange={(event) => edit({ endpointId: event.currentTarget.value })}
          error={errors.endpointId}
          data={[
            { value: "", label: "Choose" },
            ...(endpoints.data?.endpoints ?? []).map((each) => ({
              value: each.endpoint_id,
              label: each.url,
            })),
          ]}
        />
      );
  }
}
