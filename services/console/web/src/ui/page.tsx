import { Group, Stack, Text, Title } from "@mantine/core";
import { type ReactNode, useEffect, useRef } from "react";

interface PageProps {
  title: string;
  /** What belongs to the title but not to the name of the browser's tab, such as an id. */
  titleSuffix?: ReactNode;
  /** One or two sentences that answer the question of the page. */
  description?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

/** The frame of every page: its only `h1`, which takes the focus when the page is opened, and the title of the tab. */
export function Page({ title, titleSuffix, description, actions, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Keyferry`;
  }, [title]);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <Stack gap="md">
      <Group justify="space-between" align="flex-start" gap="md">
        <Stack gap={2} flex={1} miw={240}>
          <Title order={1} ref={heading} tabIndex={-1}>
            {title} {titleSuffix}
          </Title>
          {description ? (
            <Text c="dimmed" size="sm" component="div">
              {description}
            </Text>
          ) : null}
        </Stack>
        {actions ? <Group gap="xs">{actions}</Group> : null}
      </Group>
      {children}
    </Stack>
  );
}
