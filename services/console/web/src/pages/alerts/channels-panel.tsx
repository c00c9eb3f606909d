import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { useAccess } from "@/session/access";
import {
  ActionButton,
  type Column,
  ConfirmDialog,
  DataTable,
  EmptyState,
  ErrorNotice,
  Group,
  notify,
  Panel,
  QueryState,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { ChannelDialog } from "./channel-dialog";
import { KIND_WORDS, targetInWords, unconfirmed } from "./channel-form";
import { ConfirmAddress } from "./confirm-address";

type Channel = Schemas["NotificationChannel"];
type Opened =
  | { readonly kind: "add" }
  | { readonly kind: "edit" | "remove" | "confirm"; readonly channel: Channel }
  | null;

/** Where alerts go, and whether they arrive. */
export function ChannelsPanel() {
  const [opened, setOpened] = useState<Opened>(null);
  const access = useAccess("list_channels");
  const channels = query.useQuery("get", "/api/v1/notification-channels", {}, { enabled: access.allowed });
  const close = () => setOpened(null);
  if (!access.allowed) {
    return null;
  }
  return (
    <Panel
      title="Channels"
      actions={
        <ActionButton
          operation="add_channel"
          leftSection={<PlusIcon size={16} aria-hidden />}
          onClick={() => setOpened({ kind: "add" })}
        >
          Add channel
        </ActionButton>
      }
    >
      <QueryState what="the channels" query={{ ...channels, isFetching: channels.isPending }} height={200}>
        {(data) => (
          <DataTable
            caption="Channels"
            columns={columnsOf(setOpened)}
            rows={data.channels}
            rowKey={({ channel_id }) => channel_id}
            empty={
              <EmptyState title="No channels">
                Alerts are shown on this page alone. A channel sends them by e-mail, to Slack, or to a program
                of yours.
              </EmptyState>
            }
          />
        )}
      </QueryState>
      {opened?.kind === "add" ? <ChannelDialog onClose={close} /> : null}
      {opened?.kind === "edit" ? <ChannelDialog channel={opened.channel} onClose={close} /> : null}
      {opened?.kind === "confirm" ? <ConfirmAddress channel={opened.channel} onClose={close} /> : null}
      {opened?.kind === "remove" ? <RemoveChannel channel={opened.channel} onClose={close} /> : null}
    </Panel>
  );
}

function StateMark({ channel }: { channel: Channel }) {
  if (channel.switched_off_at) {
    return <StatusMark kind="error">Switched off</StatusMark>;
  }
  if (channel.enabled === false) {
    return <StatusMark kind="neutral">Off</StatusMark>;
  }
  if (channel.failing_since) {
    return <StatusMark kind="error">Does not deliver</StatusMark>;
  }
  return unconfirmed(channel).length > 0 ? (
    <StatusMark kind="warning">Waits for confirmation</StatusMark>
  ) : (
    <StatusMark kind="ok">Works</StatusMark>
  );
}

function columnsOf(open: (opened: Opened) => void): readonly Column<Channel>[] {
  return [
    {
      id: "name",
      header: "Channel",
      rowHeader: true,
      cell: (channel) => (
        <>
          {channel.name}
          <Text span size="xs" c="dimmed" display="block" fw={400}>
            {KIND_WORDS[channel.kind]}: {targetInWords(channel)}
          </Text>
        </>
      ),
    },
    {
      id: "quiet",
      header: "Quiet hours",
      cell: ({ quiet_hours: quiet }) => (quiet ? `${quiet.begin} to ${quiet.end}` : "none"),
    },
    {
      id: "state",
      header: "State",
      cell: (channel) => (
        <>
          <StateMark channel={channel} />
          {channel.last_error && channel.failing_since ? (
            <Text span size="xs" c="dimmed" display="block">
              {channel.last_error}
            </Text>
          ) : null}
          {unconfirmed(channel).length > 0 ? (
            <ActionButton
              operation="confirm_channel_address"
              variant="default"
              size="compact-sm"
              aria-label={`Confirm addresses of ${channel.name}`}
              onClick={() => open({ kind: "confirm", channel })}
            >
              Enter code
            </ActionButton>
          ) : null}
        </>
      ),
    },
    { id: "waiting", header: "Waiting", numeric: true, cell: ({ waiting }) => waiting ?? 0 },
    {
      id: "last",
      header: "Last delivered",
      cell: ({ last_delivered_at: at }) => (at ? <Time iso={at} relative /> : "never"),
    },
    { id: "actions", header: "Change", cell: (channel) => <ChannelActions channel={channel} open={open} /> },
  ];
}

function ChannelActions({ channel, open }: { channel: Channel; open: (opened: Opened) => void }) {
  const test = query.useMutation("post", "/api/v1/notification-channels/{channel_id}/test", {
    onSuccess: (found) =>
      notify(
        found.delivered
          ? `The test was delivered in ${found.latency_ms} ms.`
          : `Not delivered: ${found.answer}`,
      ),
  });
  return (
    <>
      <Group gap={4} wrap="nowrap">
        <ActionButton
          operation="test_channel"
          variant="default"
          size="compact-sm"
          loading={test.isPending}
          aria-label={`Test ${channel.name}`}
          onClick={() => test.mutate({ params: { path: { channel_id: channel.channel_id } } })}
        >
          Test
        </ActionButton>
        <ActionButton
          operation="change_channel"
          variant="default"
          size="compact-sm"
          aria-label={`Edit ${channel.name}`}
          onClick={() => open({ kind: "edit", channel })}
        >
          Edit
        </ActionButton>
        <ActionButton
          operation="remove_channel"
          variant="default"
          size="compact-sm"
          aria-label={`Delete ${channel.name}`}
          onClick={() => open({ kind: "remove", channel })}
        >
          Delete
        </ActionButton>
      </Group>
      {test.error ? <ErrorNotice what="the test" error={test.error} change /> : null}
    </>
  );
}

function RemoveChannel({ channel, onClose }: { channel: Channel; onClose: () => void }) {
  const queries = useQueryClient();
  const remove = query.useMutation("delete", "/api/v1/notification-channels/{channel_id}", {
    onSuccess: () => {
      notify(`The channel "${channel.name}" is deleted.`);
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[1] === "/api/v1/notification-channels",
      });
      onClose();
    },
  });
  return (
    <ConfirmDialog
      opened
      title={`Delete the channel "${channel.name}"?`}
      verb="Delete channel"
      busy={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate({ params: { path: { channel_id: channel.channel_id } } })}
      onClose={onClose}
    >
      <Text size="sm">
        Alerts no longer arrive there.{" "}
        {channel.waiting
          ? `${channel.waiting} that wait to be sent are dropped.`
          : "Nothing waits to be sent."}
      </Text>
    </ConfirmDialog>
  );
}
