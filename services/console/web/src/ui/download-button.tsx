import { Button } from "@mantine/core";
import { useState } from "react";
import { download } from "@/api/download";
import { asApiError } from "@/api/errors";
import { DownloadIcon } from "./icons";
import { notify } from "./notify";

interface DownloadButtonProps {
  label: string;
  /** A path of the management API, as a tenant writes it. */
  path: string;
  filename: string;
}

/** A button that downloads a file of the management API. */
export function DownloadButton({ label, path, filename }: DownloadButtonProps) {
  const [busy, setBusy] = useState(false);
  const start = async () => {
    setBusy(true);
    try {
      await download(path, filename);
    } catch (error) {
      notify(`Could not download ${filename}: ${asApiError(error).message}`, "error");
    } finally {
      setBusy(false);
    }
  };
  return (
    <Button
      variant="default"
      leftSection={<DownloadIcon size={16} aria-hidden />}
      onClick={() => void start()}
      loading={busy}
    >
      {label}
    </Button>
  );
}
