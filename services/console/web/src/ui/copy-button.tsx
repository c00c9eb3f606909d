import { ActionIcon, Button, CopyButton as MantineCopyButton, Tooltip } from "@mantine/core";
import { CheckIcon, CopyIcon } from "./icons";

interface CopyButtonProps {
  value: string;
  /** What is copied, for people who do not see the icon: "Copy the request ID". */
  label: string;
  /** Show the label on the button. */
  withText?: boolean;
}

/** Copy a text to the clipboard and say so. */
export function CopyButton({ value, label, withText = false }: CopyButtonProps) {
  return (
    <MantineCopyButton value={value} timeout={2000}>
      {({ copied, copy }) =>
        withText ? (
          <Button
            variant="default"
            size="xs"
            leftSection={copied ? <CheckIcon size={14} aria-hidden /> : <CopyIcon size={14} aria-hidden />}
            onClick={copy}
          >
            {copied ? "Copied" : label}
          </Button>
        ) : (
          <Tooltip label={copied ? "Copied" : label}>
            <ActionIcon
              variant="subtle"
              color="gray"
              size="md"
              onClick={copy}
              aria-label={copied ? "Copied" : label}
            >
              {copied ? <CheckIcon size={16} aria-hidden /> : <CopyIcon size={16} aria-hidden />}
            </ActionIcon>
          </Tooltip>
        )
      }
    </MantineCopyButton>
  );
}
