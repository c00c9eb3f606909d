import { type RefObject, useEffect } from "react";
import { PasswordInput, StatusMark, Text } from "@/ui";
import type { FormatFinding } from "./key-format";

interface KeyFieldProps {
  /** The field itself: the key is nowhere else. */
  field: RefObject<HTMLInputElement | null>;
  label?: string;
  description?: string;
  required?: boolean;
  /** What the field holds, for browsers and for the button that shows it. */
  noun?: string;
  finding: FormatFinding | null;
  onInput: (key: string) => void;
}

/** A field for a provider key. It is uncontrolled: what is typed is in the field alone, and gone when the field is. */
export function KeyField({
  field,
  label = "Key",
  description,
  required = true,
  noun = "key",
  finding,
  onInput,
}: KeyFieldProps) {
  useEffect(() => {
    const input = field.current;
    return () => {
      if (input) {
        input.value = "";
      }
    };
  }, [field]);
  return (
    <div>
      <PasswordInput
        ref={field}
        label={label}
        description={description}
        required={required}
        autoComplete="off"
        autoCorrect="off"
        autoCapitalize="off"
        spellCheck={false}
        data-1p-ignore
        data-lpignore="true"
        name={`provider-${noun}`}
        error={finding?.kind === "refused" ? finding.message : undefined}
        visibilityToggleButtonProps={{ "aria-label": `Show or hide the ${noun}` }}
        onInput={(event) => onInput(event.currentTarget.value.trim())}
      />
      <div aria-live="polite">
        {finding && finding.kind !== "refused" && finding.message ? (
          <Text component="div" size="xs" mt={4}>
            <StatusMark kind={finding.kind === "ok" ? "ok" : "warning"}>{finding.message}</StatusMark>
          </Text>
        ) : null}
      </div>
    </div>
  );
}
