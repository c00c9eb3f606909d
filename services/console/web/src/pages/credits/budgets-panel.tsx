import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import { useNames } from "@/components/use-names";
import { formatTotal } from "@/format/money";
import {
  ActionButton,
  type Column,
  DataTable,
  EmptyState,
  Group,
  Panel,
  QueryState,
  StatusMark,
  Text,
  Time,
} from "@/ui";
import { BarCell, STATUS_FILLS } from "@/ui/charts";
import { PlusIcon } from "@/ui/icons";
import { BudgetDialog } from "./budget-dialog";
import { budgetTitle, windowText } from "./budget-form";
import { RemoveBudget } from "./remove-budget";

type BudgetState = Schemas["BudgetState"];
type Opened =
  | { readonly kind: "add" }
  | { readonly kind: "edit" | "remove"; readonly state: BudgetState }
  | null;

/** The limits of what may be spent, and how much of each is. */
export function BudgetsPanel({ zone }: { zone: string }) {
  const [opened, setOpened] = useState<Opened>(null);
  const budgets = query.useQuery("get", "/api/v1/budgets");
  const names = useNames();
  const title = (state: BudgetState) => budgetTitle(state.budget, (_, value) => names.get(value) ?? value);
  const close = () => setOpened(null);
  return (
    <Panel
      title="Budgets"
      actions={
        <ActionButton
          operation="add_budget"
          leftSection={<PlusIcon size={16} aria-hidden />}
          onClick={() => setOpened({ kind: "add" })}
        >
          Add budget
        </ActionButton>
      }
    >
      <QueryState what="the budgets" query={{ ...budgets, isFetching: budgets.isPending }} height={240}>
        {(data) => (
          <DataTable
            caption="Budgets"
            columns={columnsOf(title, setOpened)}
            rows={data.budgets}
            rowKey={(state) => state.budget.budget_id}
            empty={
              <EmptyState title="No budgets">
                A budget limits what is spent in a day, a week or a month: of everything, or of one team,
                member, client token, provider key or model.
              </EmptyState>
            }
          />
        )}
      </QueryState>
      {opened?.kind === "add" ? <BudgetDialog zone={zone} onClose={close} /> : null}
      {opened?.kind === "edit" ? <BudgetDialog zone={zone} state={opened.state} onClose={close} /> : null}
      {opened?.kind === "remove" ? (
        <RemoveBudget state={opened.state} title={title(opened.state)} onClose={close} />
      ) : null}
    </Panel>
  );
}

function StateMark({ state }: { state: BudgetState }) {
  if (state.budget.enabled === false) {
    return <StatusMark kind="neutral">Disabled</StatusMark>;
  }
  if (state.exhausted) {
    return (
      <StatusMark kind="error">{state.budget.hard === false ? "Used up" : "Used up, refuses"}</StatusMark>
    );
  }
  const passed = Math.max(0, ...state.thresholds_passed);
  return passed > 0 ? (
    <StatusMark kind="warning">{`Past ${passed} %`}</StatusMark>
  ) : (
    <StatusMark kind="ok">{state.budget.hard === false ? "Only shows" : "Enforced"}</StatusMark>
  );
}

function columnsOf(
  title: (state: BudgetState) => string,
  open: (opened: Opened) => void,
): readonly Column<BudgetState>[] {
  const fill = (state: BudgetState) =>
    state.exhausted
      ? STATUS_FILLS.error
      : state.thresholds_passed.length > 0
        ? STATUS_FILLS.warning
        : STATUS_FILLS.ok;
  return [
    { id: "name", header: "Budget", rowHeader: true, cell: title },
    { id: "window", header: "Window", cell: (state) => windowText(state.budget.window) },
    {
      id: "spent",
      header: "Spent",
      numeric: true,
      cell: (state) => (
        <BarCell share={state.percent / 100} color={fill(state)}>
          {formatTotal(state.spent_micro_usd)} of {formatTotal(state.budget.limit_micro_usd)}
        </BarCell>
      ),
    },
    {
      id: "left",
      header: "Left",
      numeric: true,
      cell: (state) => (
        <>
          {formatTotal(state.left_micro_usd)}
          {state.held_micro_usd > 0 ? (
            <Text span size="xs" c="dimmed" display="block">
              {formatTotal(state.held_micro_usd)} held
            </Text>
          ) : null}
        </>
      ),
    },
    {
      id: "projected",
      header: "Expected at the end",
      numeric: true,
      cell: (state) =>
        state.projected ? (
          <>
            {formatTotal(state.projected.likely_micro_usd)}
            <Text span size="xs" c="dimmed" display="block">
              {formatTotal(state.projected.low_micro_usd)} to {formatTotal(state.projected.high_micro_usd)}
            </Text>
          </>
        ) : (
          "not known yet"
        ),
    },
    {
      id: "resets",
      header: "Begins anew",
      cell: (state) => (state.resets_at ? <Time iso={state.resets_at} relative /> : "goes on"),
    },
    { id: "state", header: "State", cell: (state) => <StateMark state={state} /> },
    {
      id: "actions",
      header: "Change",
      cell: (state) => (
        <Group gap={4} wrap="nowrap">
          <ActionButton
            operation="change_budget"
            variant="default"
            size="compact-sm"
            aria-label={`Edit ${title(state)}`}
            onClick={() => open({ kind: "edit", state })}
          >
            Edit
          </ActionButton>
          <ActionButton
            operation="remove_budget"
            variant="default"
            size="compact-sm"
            aria-label={`Delete ${title(state)}`}
            onClick={() => open({ kind: "remove", state })}
          >
            Delete
          </ActionButton>
        </Group>
      ),
    },
  ];
}
