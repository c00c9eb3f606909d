import { Modal, useMediaQuery } from "@/ui";
import { AddKeyForm } from "./add-key-form";

interface AddKeyDialogProps {
  opened: boolean;
  /** The provider that is chosen at first; empty for none. */
  provider: string;
  onClose: () => void;
  onAdded: (keyId: string) => void;
}

/** The dialog that adds a provider key. Closed, it leaves nothing: the field with the key is gone from the page. */
export function AddKeyDialog({ opened, provider, onClose, onAdded }: AddKeyDialogProps) {
  const narrow = useMediaQuery("(max-width: 48em)");
  return (
    <Modal opened={opened} onClose={onClose} title="Add a provider key" size="lg" fullScreen={narrow}>
      {opened ? <AddKeyForm initialProvider={provider} onClose={onClose} onAdded={onAdded} /> : null}
    </Modal>
  );
}
