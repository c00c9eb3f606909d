import { formatMicroseconds } from "@/format/duration";
import { Stack, Table, TableRegion, Text } from "@/ui";
import { attributesOf, type Span } from "./span-rows";

/** What is known of one span: when and where it ran, whether it failed, and its attributes. */
export function SpanDetail({ span }: { span: Span }) {
  const attributes = attributesOf(span);
  const facts = [
    `Begins after ${formatMicroseconds(span.offset_us)}`,
    `${span.kind} span of ${span.instance_id}`,
    span.orphan ? "its caller's span is not shown" : null,
    span.error ? `failed: ${span.error}` : null,
  ].filter((fact): fact is string => fact !== null);
  return (
    <Stack gap={4} pb="xs">
      <Text size="xs" c="dimmed">
        {facts.join(" · ")}
      </Text>
      {attributes.length > 0 ? (
        <TableRegion label={`Attributes of ${span.name}`}>
          <Table verticalSpacing={2} fz="xs" miw={320}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Attribute</Table.Th>
                <Table.Th scope="col">Value</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {attributes.map(([name, value]) => (
                <Table.Tr key={name}>
                  <Table.Td>{name}</Table.Td>
                  <Table.Td className="trace-value">{value}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </TableRegion>
      ) : null}
    </Stack>
  );
}
