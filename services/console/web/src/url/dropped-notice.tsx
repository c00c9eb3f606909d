import { Alert, Text } from "@/ui";

/** Say which parameters of the address were ignored. */
export function DroppedNotice({ dropped }: { dropped: readonly string[] }) {
  if (dropped.length === 0) {
    return null;
  }
  const names = dropped.map((name) => name.slice(0, 40)).join(", ");
  return (
    <Alert
      color="yellow"
      variant="outline"
      title={
        <Text span inherit c="bright">
          Part of the address was not understood
        </Text>
      }
      role="status"
    >
      Ignored: {names}. Everything else of the address is in use.
    </Alert>
  );
}
