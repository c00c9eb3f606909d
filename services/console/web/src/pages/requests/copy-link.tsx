import { Button, Menu, notify } from "@/ui";
import { ChevronDownIcon, LinkIcon } from "@/ui/icons";

interface CopyLinkProps {
  /** The address as it is, and with its relative range as times. */
  path: string;
  fixedPath: string;
}

/** Copy a link to what is shown: with a range that moves on, or with these times. */
export function CopyLink({ path, fixedPath }: CopyLinkProps) {
  const copy = async (to: string) => {
    try {
      await navigator.clipboard.writeText(new URL(to, window.location.origin).href);
      notify("The link is in the clipboard.");
    } catch {
      notify("The browser did not allow copying: copy the address of the page.", "error");
    }
  };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button
          variant="default"
          leftSection={<LinkIcon size={16} aria-hidden />}
          rightSection={<ChevronDownIcon size={14} aria-hidden />}
        >
          Copy link
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => void copy(path)}>With these filters</Menu.Item>
        <Menu.Item onClick={() => void copy(fixedPath)}>With these filters and these exact times</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
