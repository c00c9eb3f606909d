import { Center, ErrorNotice, Title } from "@/ui";

/** The page when the console's own service does not answer. */
export function AwayPage({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  return (
    <Center component="main" mih="100vh" p="md">
      <div>
        <Title order={1} mb="md">
          Keyferry
        </Title>
        <ErrorNotice what="the console" error={error} onRetry={onRetry} />
      </div>
    </Center>
  );
}
