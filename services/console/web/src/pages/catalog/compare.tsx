import { formatCount } from "@/format/numbers";
import { Button, Panel, Table, TableRegion } from "@/ui";
import { type Model, perMillion, providersOf } from "./catalog";

const ROWS: readonly (readonly [string, (model: Model) => string])[] = [
  ["Provider", (model) => providersOf(model).join(", ")],
  ["Input, per million tokens", (model) => perMillion(model.prices?.input_usd) ?? "unknown"],
  ["Cached input, per million tokens", (model) => perMillion(model.prices?.cached_read_usd) ?? "as input"],
  ["Output, per million tokens", (model) => perMillion(model.prices?.output_usd) ?? "unknown"],
  ["Context", (model) => (model.context_tokens ? formatCount(model.context_tokens) : "unknown")],
  ["Longest answer", (model) => (model.max_output_tokens ? formatCount(model.max_output_tokens) : "unknown")],
  ["Can", (model) => (model.capabilities ?? []).join(", ").replaceAll("_", " ")],
  ["In the EU", (model) => (model.eu ? "yes" : "no")],
  ["Available to you", (model) => (model.available === false ? "no" : "yes")],
];

/** Up to four models side by side. */
export function CompareModels({ models, onClose }: { models: readonly Model[]; onClose: () => void }) {
  return (
    <Panel
      title="Comparison"
      actions={
        <Button variant="default" size="xs" onClick={onClose}>
          Close
        </Button>
      }
    >
      <TableRegion label="Comparison of models">
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Property</Table.Th>
              {models.map((model) => (
                <Table.Th scope="col" key={model.id}>
                  {model.title ?? model.id}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {ROWS.map(([name, value]) => (
              <Table.Tr key={name}>
                <Table.Th scope="row" fw={500}>
                  {name}
                </Table.Th>
                {models.map((model) => (
                  <Table.Td key={model.id}>{value(model)}</Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </TableRegion>
    </Panel>
  );
}
