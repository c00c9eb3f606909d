import { query, type Schemas } from "@/api/client";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Box,
  ErrorNotice,
  Group,
  QueryState,
  RouteLink,
  Stack,
  StatusMark,
  Text,
  Time,
} from "@/ui";

const SHOWN = 5;

/** The tenant's own keys, each with a test of its connection. */
export function ConnectionTests() {
  const tenant = useTenant();
  const keys = query.useQuery("get", "/api/v1/provider-keys", { params: { query: { limit: SHOWN + 1 } } });
  return (
    <Box>
      <Text fw={500} size="sm">
        Test a connection
      </Text>
      <Text size="xs" c="dimmed" mb="xs">
        A test sends one request of one token to the provider; it costs less than $0.0001.
      </Text>
      <QueryState what="your provider keys" query={keys} height={90}>
        {({ data }) =>
          data.length === 0 ? (
            <Text size="sm">
              There is no own key yet.{" "}
              <RouteLink to={`/t/${tenant}/keys`} underline="always">
                Add a provider key
              </RouteLink>
            </Text>
          ) : (
            <Stack gap={6}>
              {data.slice(0, SHOWN).map((key) => (
                <KeyLine key={key.key_id} providerKey={key} onTested={() => void keys.refetch()} />
              ))}
              {data.length > SHOWN ? (
                <RouteLink to={`/t/${tenant}/keys`} size="sm">
                  All provider keys
                </RouteLink>
              ) : null}
            </Stack>
          )
        }
      </QueryState>
    </Box>
  );
}

const RESULT_KINDS = { valid: "ok", degraded: "warning", invalid: "error", inconclusive: "neutral" } as const;

function KeyLine({ providerKey, onTested }: { providerKey: Schemas["ProviderKey"]; onTested: () => void }) {
  const test = query.useMutation("post", "/api/v1/provider-keys/{key_id}/test");
  const result = test.data?.last_test ?? providerKey.last_test;
  const failed = result?.steps.find((step) => step.passed === false);
  const name = providerKey.name || providerKey.label;
  const run = async () => {
    try {
      await test.mutateAsync({ params: { path: { key_id: providerKey.key_id } } });
      onTested();
    } catch {
      // The mutation holds the error, which is shown below.
    }
  };
  return (
    <Box>
      <Group gap="sm" justify="space-between" wrap="nowrap">
        <Box miw={0}>
          <Text size="sm">
            {providerKey.provider}: {name}
          </Text>
          <Group gap="xs">
            <StatusMark kind={result ? RESULT_KINDS[result.result] : "neutral"}>
              {result ? result.result : "not tested"}
            </StatusMark>
            {result ? (
              <Text size="xs" c="dimmed">
                <Time iso={result.tested_at} relative />, {result.duration_ms} ms
              </Text>
            ) : null}
          </Group>
        </Box>
        <ActionButton
          operation="test_provider_key"
          size="compact-sm"
          variant="default"
          loading={test.isPending}
          aria-label={`Test ${name}`}
          onClick={() => void run()}
        >
          Test
        </ActionButton>
      </Group>
      {failed ? (
        <Text size="xs" c="dimmed">
          {failed.step}: {failed.detail}
        </Text>
      ) : null}
      {test.error ? <ErrorNotice what="the test of the key" error={test.error} change /> : null}
    </Box>
  );
}
