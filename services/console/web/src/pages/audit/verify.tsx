import { query } from "@/api/client";
import { countOf } from "@/format/numbers";
import { Alert, Button, ErrorNotice, Group, StatusMark, Text } from "@/ui";

/** A button that checks the chain of digests, and what it has found. */
export function VerifyChain() {
  const verification = query.useQuery(
    "get",
    "/api/v1/audit/verify",
    { params: { query: { full: true } } },
    { enabled: false, retry: false },
  );
  const { data, error, isFetching } = verification;
  const faults = data?.faults ?? [];
  return (
    <>
      <Group gap="sm">
        <Button variant="default" onClick={() => void verification.refetch()} loading={isFetching}>
          Verify chain
        </Button>
        {data && !isFetching ? (
          <span role="status">
            <StatusMark kind={faults.length === 0 ? "ok" : "error"}>
              {faults.length === 0
                ? `${countOf(data.entries, "entry", "entries")} checked: none is missing or changed`
                : "The chain is broken"}
            </StatusMark>
          </span>
        ) : (
          <Text size="sm" c="dimmed">
            Each entry holds the digest of the one before it, so a changed or missing entry shows.
          </Text>
        )}
      </Group>
      {error && !isFetching ? <ErrorNotice what="the verification" error={error} /> : null}
      {faults.length > 0 ? (
        <Alert color="red" variant="outline" title="First broken links" role="alert">
          {faults.slice(0, 5).map((fault) => (
            <Text key={fault} size="sm">
              {fault}
            </Text>
          ))}
        </Alert>
      ) : null}
    </>
  );
}
