import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { formatDuration } from "@/format/duration";
import { formatCompact, formatShare } from "@/format/numbers";
import { useTenant } from "@/session/session";
import {
  ActionButton,
  Badge,
  Button,
  type Column,
  DataTable,
  EmptyState,
  Group,
  Money,
  Panel,
  QueryState,
  RouteLink,
  Stack,
  Text,
} from "@/ui";
import { ExplainDialog } from "./explain-dialog";
import { OperationDialog } from "./operation-dialog";
import { constraintsOf, type OperationRow, operationRows } from "./operation-rows";
import type { Rule } from "./rules-text";

type InForce = Schemas["PreferencesInForce"];

const MODE_NAMES: Record<string, string> = { platform: "Platform", byok: "BYOK", custom: "Custom endpoint" };
const BY_KEY_POLICY = "By key policy";
const SHOWN_MODELS = 2;

interface OperationsTabProps {
  rules: readonly Rule[];
  preferences: InForce;
  onSaved: () => Promise<unknown>;
}

/** What runs for each operation, and what happens when it fails. */
export function OperationsTab({ rules, preferences, onSaved }: OperationsTabProps) {
  const [editing, setEditing] = useState<string | null>(null);
  const [explaining, setExplaining] = useState<string | null>(null);
  return (
    <Stack gap="md">
      <ModePanel preferences={preferences} onChange={() => setEditing("")} />
      <Panel title="Operations">
        <Table
          rules={rules}
          preferences={preferences}
          onEdit={(operation) => setEditing(operation)}
          onExplain={(operation) => setExplaining(operation)}
        />
      </Panel>
      {editing === null ? null : (
        <OperationDialog
          operation={editing}
          preferences={preferences}
          onClose={() => setEditing(null)}
          onReload={onSaved}
        />
      )}
      {explaining === null ? null : (
        <ExplainDialog operation={explaining} onClose={() => setExplaining(null)} />
      )}
    </Stack>
  );
}

function ModePanel({ preferences, onChange }: { preferences: InForce; onChange: () => void }) {
  const tenant = useTenant();
  const mode = preferences.effective.find(({ name }) => name === "mode");
  const limits = constraintsOf(preferences.effective);
  return (
    <Panel
      title="Whose keys serve requests"
      actions={
        <ActionButton operation="save_preferences" size="xs" variant="default" onClick={onChange}>
          Change mode
        </ActionButton>
      }
    >
      <Text size="sm">
        <strong>{MODE_NAMES[String(mode?.value)] ?? BY_KEY_POLICY}.</strong>{" "}
        {MODE_WORDS[String(mode?.value)] ?? NO_MODE}
      </Text>
      <Text size="sm" c="dimmed">
        Limits of every request: {limits.length > 0 ? limits.join("; ") : "none"}.{" "}
        <RouteLink to={`/t/${tenant}/preferences`} underline="always">
          Preferences
        </RouteLink>{" "}
        ·{" "}
        <RouteLink to={`/t/${tenant}/privacy`} underline="always">
          Privacy and region
        </RouteLink>
      </Text>
    </Panel>
  );
}

const NO_MODE =
  "Own endpoints and own keys serve; the platform's keys where there is nothing of your own, or where both are allowed.";
const MODE_WORDS: Record<string, string> = {
  platform: "The platform's keys serve all requests, and your credits pay.",
  byok: "Your own provider keys serve; the platform's only if the key policy allows both.",
  custom: "Your own endpoints and your keys for own servers serve, and nothing else.",
};

interface TableProps {
  rules: readonly Rule[];
  preferences: InForce;
  onEdit: (operation: string) => void;
  onExplain: (operation: string) => void;
}

function Table({ rules, preferences, onEdit, onExplain }: TableProps) {
  const comparison = query.useQuery(
    "get",
    "/api/v1/power-level/comparison",
    { params: { query: { days: 30 } } },
    { staleTime: 60_000 },
  );
  const columns = columnsOf(comparison.data?.current, onEdit, onExplain);
  return (
    <QueryState what="the traffic of your operations" query={comparison} height={320}>
      {(found) => {
        const rows = operationRows(found, { rules, effective: preferences.effective });
        return (
          <Stack gap="xs">
            <DataTable
              caption="Operations"
              columns={columns}
              rows={rows}
              rowKey={(row) => (row.rest ? "rest" : `operation ${row.plan.operation}`)}
              empty={
                <EmptyState title="No operation yet">
                  Name the purpose of a request in the header X-Operation, such as summarize, and each gets a
                  row with its own models.
                </EmptyState>
              }
            />
            {rows.length > 0 ? (
              <Text size="xs" c="dimmed">
                Cost and P95 are expected for a month like the last {found.days_seen} days, with the models of
                today's rules, prices and keys.
              </Text>
            ) : null}
          </Stack>
        );
      }}
    </QueryState>
  );
}

function columnsOf(
  level: string | undefined,
  onEdit: (operation: string) => void,
  onExplain: (operation: string) => void,
): readonly Column<OperationRow>[] {
  return [
    { id: "operation", header: "Operation", rowHeader: true, cell: (row) => nameOf(row) },
    {
      id: "mode",
      header: "Mode",
      cell: (row) => (
        <Group gap={4} wrap="nowrap">
          {row.plan.mode ? (MODE_NAMES[row.plan.mode] ?? row.plan.mode) : BY_KEY_POLICY}
          {row.plan.ownMode ? (
            <Badge size="xs" variant="default" tt="none">
              own
            </Badge>
          ) : null}
        </Group>
      ),
    },
    { id: "level", header: "Power level", cell: () => level ?? "unknown" },
    { id: "first", header: "First choice", cell: (row) => <FirstChoice row={row} /> },
    {
      id: "after",
      header: "Then",
      cell: (row) => (row.plan.after.length > 0 ? row.plan.after.join(", then ") : "no other model"),
    },
    {
      id: "cost",
      header: "Cost a month",
      numeric: true,
      cell: (row) => (row.requestsPerMonth === 0 ? "no traffic" : <Money micro={row.spendMicroUsd} />),
    },
    {
      id: "p95",
      header: "P95",
      numeric: true,
      cell: (row) => (row.p95Ms === null ? "unknown" : formatDuration(row.p95Ms)),
    },
    {
      id: "acts",
      header: "Acts",
      cell: (row) =>
        row.rest ? null : (
          <Group gap={4} wrap="nowrap">
            <ActionButton
              operation="explain_route"
              size="compact-xs"
              variant="default"
              aria-label={`Explain ${nameOf(row)}`}
              onClick={() => onExplain(row.plan.operation)}
            >
              Explain
            </ActionButton>
            {row.plan.operation === "" ? null : (
              <Button
                size="compact-xs"
                variant="default"
                aria-label={`Set mode and model of ${nameOf(row)}`}
                onClick={() => onEdit(row.plan.operation)}
              >
                Set
              </Button>
            )}
          </Group>
        ),
    },
  ];
}

function nameOf(row: OperationRow): string {
  return row.rest ? "All others" : row.plan.operation || "Without an operation";
}

function FirstChoice({ row }: { row: OperationRow }) {
  const shown = row.models.slice(0, SHOWN_MODELS);
  const others = row.models.length - shown.length;
  const refused = row.refusedPermille > 0 ? `${formatShare(row.refusedPermille / 1000)} refused` : "";
  return (
    <Stack gap={2}>
      {shown.map(({ model, permille }) => (
        <Text key={model} size="sm">
          {model} {permille === 1000 ? "" : formatShare(permille / 1000, 0)}
        </Text>
      ))}
      {others > 0 ? <Text size="xs">and {formatCompact(others)} more</Text> : null}
      {refused ? (
        <Text size="xs" c="error" title={row.reason ?? undefined}>
          {refused}
          {row.reason ? `: ${row.reason}` : ""}
        </Text>
      ) : null}
      {row.rest ? null : (
        <Text size="xs" c="dimmed">
          {row.plan.rule ? `Rule ${row.plan.rule}: ${row.plan.first}` : `No rule: ${row.plan.first}`}
          {row.plan.sometimes.length > 0 ? `; for some requests ${row.plan.sometimes.join(", ")}` : ""}
        </Text>
      )}
    </Stack>
  );
}
