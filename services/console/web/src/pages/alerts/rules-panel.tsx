import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { query } from "@/api/client";
import { useNames } from "@/components/use-names";
import {
  ActionButton,
  type Column,
  ConfirmDialog,
  DataTable,
  EmptyState,
  Group,
  notify,
  Panel,
  QueryState,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { PlusIcon } from "@/ui/icons";
import { conditionInWords, type MetricView } from "./metrics";
import { RuleDialog } from "./rule-dialog";
import { type Status, stateInWords, whyFixed } from "./rule-state";

type Opened = { readonly kind: "add" } | { readonly kind: "edit" | "remove"; readonly status: Status } | null;

/** What will warn: the tenant's own rules, and those that every tenant has. */
export function RulesPanel() {
  const [opened, setOpened] = useState<Opened>(null);
  const rules = query.useQuery("get", "/api/v1/alerts/rules");
  const metrics = query.useQuery(
    "get",
    "/api/v1/alerts/metrics",
    {},
    { staleTime: Number.POSITIVE_INFINITY },
  );
  const names = useNames();
  const views = metrics.data?.metrics.filter(({ of_tenants }) => of_tenants) ?? [];
  const close = () => setOpened(null);
  return (
    <Panel
      title="Rules"
      actions={
        <ActionButton
          operation="add_alert_rule"
          leftSection={<PlusIcon size={16} aria-hidden />}
          onClick={() => setOpened({ kind: "add" })}
        >
          Add rule
        </ActionButton>
      }
    >
      <QueryState what="the rules" query={{ ...rules, isFetching: rules.isPending }} height={320}>
        {(data) => (
          <DataTable
            caption="Alert rules"
            columns={columnsOf(views, names, setOpened)}
            rows={data.rules}
            rowKey={({ rule_id }) => rule_id}
            empty={
              <EmptyState title="No rules">A rule warns when a figure passes what you choose.</EmptyState>
            }
          />
        )}
      </QueryState>
      {opened?.kind === "add" && metrics.data ? (
        <RuleDialog metrics={views} names={names} onClose={close} />
      ) : null}
      {opened?.kind === "edit" && opened.status.rule && metrics.data ? (
        <RuleDialog metrics={metrics.data.metrics} rule={opened.status.rule} names={names} onClose={close} />
      ) : null}
      {opened?.kind === "remove" ? <RemoveRule status={opened.status} onClose={close} /> : null}
    </Panel>
  );
}

function columnsOf(
  views: readonly MetricView[],
  names: ReadonlyMap<string, string>,
  open: (opened: Opened) => void,
): readonly Column<Status>[] {
  return [
    {
      id: "name",
      header: "Rule",
      rowHeader: true,
      cell: (status) => (
        <>
          {status.name}
          <Text span size="xs" c="dimmed" display="block" fw={400}>
            {status.rule
              ? conditionInWords(
                  status.rule,
                  views.find(({ metric }) => metric === status.rule?.metric),
                  names,
                )
              : status.rule_id}
            {status.is_default ? " (every tenant has it)" : ""}
          </Text>
        </>
      ),
    },
    { id: "severity", header: "Severity", cell: ({ rule }) => rule?.severity ?? "–" },
    {
      id: "state",
      header: "State",
      cell: (status) => (
        <>
          <StatusMark kind={stateInWords(status).kind}>{stateInWords(status).text}</StatusMark>
          {status.reason ? (
            <Text span size="xs" c="dimmed" display="block">
              {status.reason}
            </Text>
          ) : null}
        </>
      ),
    },
    {
      id: "fired",
      header: "Last fired",
      cell: ({ last_fired_at }) => (last_fired_at ? <Time iso={last_fired_at} relative /> : "never"),
    },
    {
      id: "actions",
      header: "Change",
      cell: (status) => (
        <Group gap={4} wrap="nowrap">
          <ActionButton
            operation="change_alert_rule"
            variant="default"
            size="compact-sm"
            aria-label={`Edit ${status.name}`}
            disabledReason={whyFixed(status)}
            onClick={() => open({ kind: "edit", status })}
          >
            Edit
          </ActionButton>
          <ActionButton
            operation="remove_alert_rule"
            variant="default"
            size="compact-sm"
            aria-label={`${removeVerb(status)} ${status.name}`}
            disabledReason={
              status.is_default && status.revision === 0
                ? "It has its usual terms. Edit it to switch it off."
                : undefined
            }
            onClick={() => open({ kind: "remove", status })}
          >
            {removeVerb(status)}
          </ActionButton>
        </Group>
      ),
    },
  ];
}

function removeVerb({ is_default }: Status): string {
  return is_default ? "Restore" : "Delete";
}

function RemoveRule({ status, onClose }: { status: Status; onClose: () => void }) {
  const queries = useQueryClient();
  const remove = query.useMutation("delete", "/api/v1/alerts/rules/{rule_id}", {
    onSuccess: () => {
      notify(
        status.is_default
          ? `"${status.name}" has its usual terms again.`
          : `The rule "${status.name}" is deleted.`,
      );
      void queries.invalidateQueries({
        predicate: ({ queryKey }) => String(queryKey[1]).startsWith("/api/v1/alerts"),
      });
      onClose();
    },
  });
  return (
    <ConfirmDialog
      opened
      title={`${removeVerb(status)} the rule "${status.name}"?`}
      verb={`${removeVerb(status)} rule`}
      busy={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate({ params: { path: { rule_id: status.rule_id } } })}
      onClose={onClose}
    >
      <Text size="sm">
        {status.is_default
          ? "Your changes of it are dropped."
          : `It warns no more. ${(status.open_alerts ?? 0) > 0 ? "Its open alerts are resolved." : "It has no open alerts."}`}
      </Text>
    </ConfirmDialog>
  );
}
