import { useState } from "react";
import { groupModels, useModels } from "@/components/model-options";
import { ownValue } from "@/components/own-value";
import { ActionIcon, Box, Button, Group, Select, Table, Text, TextInput } from "@/ui";
import { DeleteIcon, PlusIcon } from "@/ui/icons";
import { type Edits, type Effective, originInWords, type Saved, shown } from "./edit";
import { MODES } from "./fields";

type MapName = "mode_by_operation" | "model_by_operation";

interface ByOperationProps {
  edits: Edits;
  saved: Saved;
  effective: readonly Effective[];
  faults: ReadonlyMap<string, string>;
  readOnly: boolean;
  onChange: (name: MapName, value: Record<string, string>) => void;
}

const OPERATION = /^[A-Za-z0-9_.-]{1,64}$/;

/** Mode and model by operation, as they are set in the scope. */
export function ByOperation({ edits, saved, effective, faults, readOnly, onChange }: ByOperationProps) {
  const modes = toMap(shown(edits, saved, "mode_by_operation"));
  const models = toMap(shown(edits, saved, "model_by_operation"));
  const [added, setAdded] = useState<readonly string[]>([]);
  const names = [...new Set([...Object.keys(modes), ...Object.keys(models), ...added])].sort();
  const set = (name: MapName, operation: string, value: string | null) => {
    const { [operation]: _, ...others } = name === "mode_by_operation" ? modes : models;
    onChange(name, value === null ? others : { ...others, [operation]: value });
  };
  const catalog = useModels();
  return (
    <Box>
      <Text fw={500} size="sm">
        By operation
      </Text>
      <Text size="xs" c="dimmed">
        Mode and model of requests with the header X-Operation. An embedding model serves embeddings.
      </Text>
      {names.length > 0 ? (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
        <section className="table-region" tabIndex={0} aria-label="Mode and model by operation">
          <Table miw={620} verticalSpacing={6}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Operation</Table.Th>
                <Table.Th scope="col">Mode</Table.Th>
                <Table.Th scope="col">Model of “default”</Table.Th>
                <Table.Th scope="col">
                  <Text span size="sm" fw={700}>
                    Remove
                  </Text>
                </Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {names.map((operation) => (
                <Table.Tr key={operation}>
                  <Table.Th scope="row" fw={500}>
                    {operation}
                  </Table.Th>
                  <Table.Td>
                    <Select
                      aria-label={`Mode of ${operation}`}
                      placeholder={placeholderOf(effective, `mode_by_operation.${operation}`)}
                      data={MODES}
                      value={ownValue(modes, operation) ?? null}
                      onChange={(mode) => set("mode_by_operation", operation, mode)}
                      clearable
                      disabled={readOnly}
                    />
                  </Table.Td>
                  <Table.Td>
                    <Select
                      aria-label={`Model of ${operation}`}
                      placeholder={placeholderOf(effective, `model_by_operation.${operation}`)}
                      data={groupModels(
                        catalog.data?.data ?? [],
                        "any",
                        [ownValue(models, operation) ?? []].flat(),
                      )}
                      value={ownValue(models, operation) ?? null}
                      onChange={(model) => set("model_by_operation", operation, model)}
                      searchable
                      clearable
                      limit={100}
                      disabled={readOnly}
                    />
                  </Table.Td>
                  <Table.Td>
                    <ActionIcon
                      variant="subtle"
                      color="gray"
                      aria-label={`Remove ${operation}`}
                      disabled={readOnly}
                      onClick={() => {
                        setAdded(added.filter((name) => name !== operation));
                        if (Object.hasOwn(modes, operation)) {
                          set("mode_by_operation", operation, null);
                        }
                        if (Object.hasOwn(models, operation)) {
                          set("model_by_operation", operation, null);
                        }
                      }}
                    >
                      <DeleteIcon size={16} aria-hidden />
                    </ActionIcon>
                  </Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </section>
      ) : null}
      {[...faults]
        .filter(([name]) => name.endsWith("_by_operation"))
        .map(([name, text]) => (
          <Text key={name} size="sm" c="error" role="alert">
            {text}
          </Text>
        ))}
      {readOnly ? null : <AddOperation taken={names} onAdd={(name) => setAdded([...added, name])} />}
    </Box>
  );
}

function toMap(value: unknown): Record<string, string> {
  return typeof value === "object" && value !== null ? (value as Record<string, string>) : {};
}

function placeholderOf(effective: readonly Effective[], name: string): string {
  const found = effective.find((each) => each.name === name);
  return found?.value ? `${String(found.value)} (${originInWords(found)})` : "As everywhere";
}

function AddOperation({ taken, onAdd }: { taken: readonly string[]; onAdd: (name: string) => void }) {
  const [name, setName] = useState("");
  const [wrong, setWrong] = useState<string | null>(null);
  const add = () => {
    const operation = name.trim();
    if (!OPERATION.test(operation)) {
      setWrong("Use 1 to 64 letters, digits, and _ . -");
    } else if (taken.includes(operation)) {
      setWrong("This operation is listed already.");
    } else {
      onAdd(operation);
      setName("");
      setWrong(null);
    }
  };
  return (
    <Group align="flex-end" gap="xs" mt="xs">
      <TextInput
        label="Operation"
        placeholder="research"
        size="xs"
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            add();
          }
        }}
        error={wrong}
      />
      <Button size="xs" variant="default" leftSection={<PlusIcon size={14} aria-hidden />} onClick={add}>
        Add operation
      </Button>
    </Group>
  );
}
