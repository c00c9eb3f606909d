import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { Button, ErrorNotice, Group, Modal, NativeSelect, notify, Stack, TextInput } from "@/ui";
import { unconfirmed } from "./channel-form";

const CODE = /^\d{8}$/;

interface ConfirmAddressProps {
  channel: Schemas["NotificationChannel"];
  onClose: () => void;
}

/** Enter the code that an address has received, or send another one. */
export function ConfirmAddress({ channel, onClose }: ConfirmAddressProps) {
  const waiting = unconfirmed(channel);
  const [address, setAddress] = useState(waiting[0] ?? "");
  const [code, setCode] = useState("");
  const [missing, setMissing] = useState<string>();
  const queries = useQueryClient();
  const confirm = query.useMutation("post", "/api/v1/notification-channels/confirm-address", {
    onSuccess: () => {
      notify(`${address} receives alerts now.`);
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => queryKey[1] === "/api/v1/notification-channels",
      });
      onClose();
    },
  });
  const send = query.useMutation("post", "/api/v1/notification-channels/send-code", {
    onSuccess: () => notify(`A code is on its way to ${address}.`),
  });
  const error = confirm.error ?? send.error;
  return (
    <Modal opened onClose={onClose} title="Confirm an address">
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          if (CODE.test(code.trim())) {
            confirm.mutate({ body: { address, code: code.trim() } });
          } else {
            setMissing("The eight digits of the mail");
          }
        }}
      >
        <Stack gap="sm">
          <NativeSelect
            label="Address"
            value={address}
            onChange={(event) => setAddress(event.currentTarget.value)}
            data={waiting}
          />
          <TextInput
            label="Code"
            value={code}
            onChange={(event) => {
              setCode(event.currentTarget.value);
              setMissing(undefined);
            }}
            error={missing}
            inputMode="numeric"
            autoComplete="one-time-code"
            required
            data-autofocus
          />
          {error ? <ErrorNotice what="the confirmation" error={error} change /> : null}
          <Group justify="space-between">
            <Button
              variant="default"
              loading={send.isPending}
              onClick={() => send.mutate({ body: { address } })}
            >
              Send another code
            </Button>
            <Button type="submit" loading={confirm.isPending}>
              Confirm
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
