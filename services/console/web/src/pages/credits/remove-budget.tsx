import { useQueryClient } from "@tanstack/react-query";
import { query, type Schemas } from "@/api/client";
import { ConfirmDialog, notify, Text } from "@/ui";
import { removalText } from "./budget-form";

interface RemoveBudgetProps {
  state: Schemas["BudgetState"];
  title: string;
  onClose: () => void;
}

/** Ask before a budget is removed, with what that means for requests. */
export function RemoveBudget({ state, title, onClose }: RemoveBudgetProps) {
  const queries = useQueryClient();
  const remove = query.useMutation("delete", "/api/v1/budgets/{budget_id}", {
    onSuccess: () => {
      notify(`The budget "${title}" is deleted.`);
      void queries.invalidateQueries({ predicate: ({ queryKey }) => queryKey[1] === "/api/v1/budgets" });
      onClose();
    },
  });
  return (
    <ConfirmDialog
      opened
      title={`Delete the budget "${title}"?`}
      verb="Delete budget"
      busy={remove.isPending}
      error={remove.error}
      onConfirm={() => remove.mutate({ params: { path: { budget_id: state.budget.budget_id } } })}
      onClose={onClose}
    >
      <Text size="sm">{removalText(state)}</Text>
    </ConfirmDialog>
  );
}
