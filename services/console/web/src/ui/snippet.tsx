import { Box, Code, Group } from "@mantine/core";
import { CopyButton } from "./copy-button";

/** A block of code or of a command, with a button that copies it. */
export function Snippet({ code, label }: { code: string; label: string }) {
  return (
    <Box>
      <Group justify="flex-end" mb={4}>
        <CopyButton value={code} label={`Copy ${label}`} withText />
      </Group>
      <Code block tabIndex={0} role="region" aria-label={label}>
        {code}
      </Code>
    </Box>
  );
}
