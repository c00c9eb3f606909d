import { Button, Group, Stack, TextInput } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { Modal } from "./dialogs";
import { ErrorNotice } from "./error-notice";

interface ConfirmDialogProps {
  opened: boolean;
  /** Names the object: `Delete the key "prod-eu"?` */
  title: string;
  /** The verb with its object, on the button: `Delete key`. */
  verb: string;
  /** The consequences, from live data. */
  children: ReactNode;
  /** What has to be typed for acts that cannot be undone and that are in use. */
  typeToConfirm?: string | undefined;
  busy?: boolean;
  error?: unknown;
  onConfirm: () => void;
  onClose: () => void;
}

/** Ask before something is destroyed. The focus starts on Cancel. */
export function ConfirmDialog(props: ConfirmDialogProps) {
  const { opened, title, verb, children, typeToConfirm, busy = false, error, onConfirm, onClose } = props;
  const [typed, setTyped] = useState("");
  useEffect(() => {
    if (opened) {
      setTyped("");
    }
  }, [opened]);
  const confirmed = typeToConfirm === undefined || typed === typeToConfirm;
  return (
    <Modal opened={opened} onClose={onClose} title={title}>
      <Stack>
        <div>{children}</div>
        {typeToConfirm === undefined ? null : (
          <TextInput
            label={`Type ${typeToConfirm} to confirm`}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
          />
        )}
        {error ? <ErrorNotice what={`"${verb}"`} error={error} change /> : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button color="red.9" onClick={onConfirm} disabled={!confirmed} loading={busy}>
            {verb}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
