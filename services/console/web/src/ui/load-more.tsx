import { Button, Group, Text } from "@mantine/core";

interface LoadMoreProps {
  shown: number;
  /** What is listed, in the plural: "entries". */
  noun: string;
  more: boolean;
  busy: boolean;
  onMore: () => void;
}

/** The end of a list that is loaded in pages. */
export function LoadMore({ shown, noun, more, busy, onMore }: LoadMoreProps) {
  return (
    <Group justify="space-between">
      <Text size="sm" c="dimmed" role="status">
        {shown} {noun} shown{more ? "" : ", no more"}
      </Text>
      {more ? (
        <Button variant="default" size="xs" onClick={onMore} loading={busy}>
          Show more
        </Button>
      ) : null}
    </Group>
  );
}
