import { Stack, Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

interface EmptyStateProps {
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

/** Say why there is nothing here, and what to do about it. */
export function EmptyState({ title, children, action }: EmptyStateProps) {
  return (
    <Stack align="center" gap="xs" py="xl" px="md">
      <Title order={2} size="h4" ta="center">
        {title}
      </Title>
      {children ? (
        <Text component="div" size="sm" c="dimmed" ta="center" maw={560}>
          {children}
        </Text>
      ) : null}
      {action}
    </Stack>
  );
}
