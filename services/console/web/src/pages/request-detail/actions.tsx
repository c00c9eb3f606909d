import { useNavigate } from "@tanstack/react-router";
import { CONFIG } from "@/config";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { ActionIcon, Button, Menu, notify, Tooltip } from "@/ui";
import { ChevronDownIcon, CopyIcon, DownIcon, UpIcon } from "@/ui/icons";
import { neighboursOf } from "../requests/neighbours";
import { asCurl, supportBundle } from "./copies";
import type { RequestRecords } from "./records";

/** Copy a link, a command or a bundle for support; send it again in the playground; go to the requests beside it. */
export function DetailActions({ records }: { records: RequestRecords }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const copy = async (text: string, what: string) => {
    try {
      await navigator.clipboard.writeText(text);
      notify(`${what} is in the clipboard.`);
    } catch {
      notify("The browser did not allow copying.", "error");
    }
  };
  const model = records.request?.model_asked ?? records.decisions[0]?.model_asked ?? "";
  const replay = new URLSearchParams({ model, request: records.request_id });
  return (
    <>
      <Neighbours id={records.request_id} />
      <Menu position="bottom-end">
        <Menu.Target>
          <Button
            variant="default"
            leftSection={<CopyIcon size={16} aria-hidden />}
            rightSection={<ChevronDownIcon size={14} aria-hidden />}
          >
            Copy
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item onClick={() => void copy(window.location.href, "The link")}>Copy link</Menu.Item>
          <Menu.Item onClick={() => void copy(asCurl(records, CONFIG.apiUrl, null), "The command")}>
            Copy as curl
          </Menu.Item>
          <Menu.Item
            onClick={() => void copy(supportBundle(records, CONFIG.version, new Date()), "The bundle")}
          >
            Copy support bundle
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      {model !== "" && records.request?.kind !== "embedding" ? (
        <Button
          variant="default"
          onClick={() => void navigate({ href: `${tenantPath(tenant, "playground")}?${replay.toString()}` })}
        >
          Replay in playground
        </Button>
      ) : null}
    </>
  );
}

function Neighbours({ id }: { id: string }) {
  const tenant = useTenant();
  const navigate = useNavigate();
  const { newer, older } = neighboursOf(id);
  if (newer === null && older === null) {
    return null;
  }
  const go = (to: string | null) => {
    if (to !== null) {
      void navigate({ href: tenantPath(tenant, `requests/${encodeURIComponent(to)}`), replace: true });
    }
  };
  return (
    <>
      <Tooltip label="Newer request, [">
        <ActionIcon
          variant="default"
          size="lg"
          aria-label="Newer request"
          disabled={newer === null}
          onClick={() => go(newer)}
        >
          <UpIcon size={16} aria-hidden />
        </ActionIcon>
      </Tooltip>
      <Tooltip label="Older request, ]">
        <ActionIcon
          variant="default"
          size="lg"
          aria-label="Older request"
          disabled={older === null}
          onClick={() => go(older)}
        >
          <DownIcon size={16} aria-hidden />
        </ActionIcon>
      </Tooltip>
    </>
  );
}
