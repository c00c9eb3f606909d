import { Button, type ButtonProps, Tooltip } from "@mantine/core";
import { type MouseEvent, useId } from "react";
import { useAccess } from "@/session/access";

interface ActionButtonProps extends ButtonProps {
  /** The operation id of the route that the button calls, such as `add_provider_key`; it decides whether the role may. */
  operation: string;
  /** A reason of another kind why it is disabled now. */
  disabledReason?: string | undefined;
  onClick?: (event: MouseEvent<HTMLButtonElement>) => void;
  type?: "button" | "submit";
  "aria-label"?: string;
}

/** A button that is disabled, with the reason in words, where the role does not allow what it does. */
export function ActionButton({
  operation,
  disabledReason,
  onClick,
  type = "button",
  ...rest
}: ActionButtonProps) {
  const access = useAccess(operation);
  const id = useId();
  const reason = access.allowed ? disabledReason : access.reason;
  if (!reason) {
    return <Button type={type} onClick={onClick} {...rest} />;
  }
  return (
    <Tooltip label={reason}>
      <span>
        <Button
          type="button"
          data-disabled
          aria-disabled
          aria-describedby={id}
          onClick={(event) => event.preventDefault()}
          {...rest}
        />
        <span id={id} hidden>
          {reason}
        </span>
      </span>
    </Tooltip>
  );
}
