import { useKeyActions } from "@/components/provider-keys/key-actions";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { TestSteps } from "@/components/provider-keys/test-steps";
import { useAction } from "@/components/use-action";
import { ActionButton, ErrorNotice, Panel, Text, Time } from "@/ui";

/** The last test of a key step by step, and a new one. */
export function TestPanel({ providerKey }: { providerKey: ProviderKey }) {
  const actions = useKeyActions();
  const testing = useAction(() => actions.test(providerKey));
  const test = providerKey.last_test ?? null;
  return (
    <Panel
      title="Connection"
      actions={
        <ActionButton
          operation="test_provider_key"
          variant="default"
          size="xs"
          loading={testing.busy}
          onClick={() => void testing.run()}
        >
          Test now
        </ActionButton>
      }
    >
      {test || testing.busy ? (
        <TestSteps test={test} running={testing.busy} />
      ) : (
        <Text size="sm">This key was never tested.</Text>
      )}
      {testing.error ? <ErrorNotice what="the test" error={testing.error} change /> : null}
      {test ? (
        <Text size="xs" c="dimmed">
          Tested <Time iso={test.tested_at} relative />
          {providerKey.next_test_at ? (
            <>
              , again <Time iso={providerKey.next_test_at} relative />
            </>
          ) : null}
        </Text>
      ) : null}
    </Panel>
  );
}
