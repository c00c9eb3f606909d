import type { ReactNode } from "react";
import type { ProviderKey } from "@/components/provider-keys/key-status";
import { useActorName } from "@/components/use-actor-name";
import { countOf } from "@/format/numbers";
import { Code, CopyButton, Group, Panel, StatusMark, Table, Text, Time } from "@/ui";
import { RevertButton } from "./revert-button";

/** What is known of the secret without showing it: its mask, its age, and who entered it. */
export function SecretPanel({ providerKey }: { providerKey: ProviderKey }) {
  const nameOf = useActorName();
  return (
    <Panel title="Secret">
      <Table variant="vertical" layout="fixed" withRowBorders={false} verticalSpacing={4}>
        <Table.Tbody>
          <Row name="Key">
            <Code>{providerKey.masked}</Code>
          </Row>
          <Row name="Fingerprint">
            <Group gap={4}>
              <Code>{providerKey.fingerprint}</Code>
              <CopyButton value={providerKey.fingerprint} label="Copy the fingerprint" />
            </Group>
          </Row>
          <Row name="Address">{providerKey.base_url}</Row>
          {Object.entries(providerKey.fields ?? {}).map(([name, value]) => (
            <Row key={name} name={name.replaceAll("_", " ")}>
              {value}
            </Row>
          ))}
          <Row name="Added">
            <Time iso={providerKey.created_at} relative /> by {nameOf(providerKey.created_by)}
          </Row>
          {providerKey.rotated_at ? (
            <Row name="Rotated">
              <Time iso={providerKey.rotated_at} relative />
              {providerKey.rotated_by ? ` by ${nameOf(providerKey.rotated_by)}` : null}, version{" "}
              {providerKey.version}
            </Row>
          ) : null}
          <Row name="Age">
            {providerKey.rotation_due ? (
              <StatusMark kind="warning">
                {countOf(providerKey.age_days ?? 0, "day")}, due for rotation
              </StatusMark>
            ) : (
              countOf(providerKey.age_days ?? 0, "day")
            )}
          </Row>
        </Table.Tbody>
      </Table>
      {providerKey.revert_until ? (
        <Group justify="space-between" gap="xs">
          <Text size="sm">
            The key before the last rotation is kept until <Time iso={providerKey.revert_until} />.
          </Text>
          <RevertButton providerKey={providerKey} />
        </Group>
      ) : null}
    </Panel>
  );
}

function Row({ name, children }: { name: string; children: ReactNode }) {
  return (
    <Table.Tr>
      <Table.Th w={120}>{name}</Table.Th>
      <Table.Td>{children}</Table.Td>
    </Table.Tr>
  );
}
