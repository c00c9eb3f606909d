import { useState } from "react";
import { query, type Schemas } from "@/api/client";
import {
  type ClientToken,
  effectiveLimits,
  STATE_KINDS,
  STATE_NAMES,
  scopeOf,
  stateOf,
} from "@/components/client-tokens/token-state";
import { useAccess } from "@/session/access";
import { Code, type Column, DataTable, Group, Money, Progress, Stack, StatusMark, Text, Time } from "@/ui";
import { EditTokenDialog } from "./edit-token-dialog";
import { RevokeTokenDialog } from "./revoke-token-dialog";
import { RotateTokenDialog } from "./rotate-token-dialog";
import { TokenMenu } from "./token-menu";

export type TokenAct = "edit" | "rotate" | "revoke";

/** The table of client tokens with what limits each, and what can be done with it. */
export function TokenTable({ tokens }: { tokens: readonly ClientToken[] }) {
  const [open, setOpen] = useState<{ act: TokenAct; token: ClientToken } | null>(null);
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const tenant = query.useQuery("get", "/api/v1/tenant");
  const tiers = query.useQuery("get", "/api/v1/tiers");
  const mayBudgets = useAccess("list_budgets").allowed;
  const budgets = query.useQuery("get", "/api/v1/budgets", {}, { enabled: mayBudgets });
  const people = new Map(
    members.data?.data.map((each) => [each.member_id, each.name ?? each.email ?? each.member_id]),
  );
  const plan = tiers.data?.tiers.find((each) => each.tier === tenant.data?.tier)?.limits;
  const columns: Column<ClientToken>[] = [
    {
      id: "name",
      header: "Name",
      rowHeader: true,
      cell: (token) => (
        <Stack gap={0}>
          <Text size="sm" fw={600}>
            {token.label}
          </Text>
          <Group gap={6}>
            <Code className="nowrap">kf_live_…{token.last4}</Code>
            {token.previous ? (
              <Text size="xs" c="dimmed">
                and …{token.previous.last4} until <Time iso={token.previous.valid_until} />
              </Text>
            ) : null}
          </Group>
        </Stack>
      ),
    },
    {
      id: "state",
      header: "State",
      cell: (token) => (
        <StatusMark kind={STATE_KINDS[stateOf(token)]}>{STATE_NAMES[stateOf(token)]}</StatusMark>
      ),
    },
    {
      id: "owner",
      header: "Owner",
      cell: (token) => (
        <Text size="sm">
          {token.member
            ? (people.get(token.member) ?? "A former member")
            : token.team
              ? `Team ${token.team}`
              : "Nobody in particular"}
        </Text>
      ),
    },
    {
      id: "budget",
      header: "Budget",
      cell: (token) => <BudgetBar state={budgetOf(budgets.data, token.token_id)} />,
    },
    { id: "limits", header: "Limits", cell: (token) => <Limits token={token} plan={plan} /> },
    { id: "scope", header: "May use", cell: (token) => <Scope token={token} /> },
    {
      id: "expires",
      header: "Expires",
      cell: (token) => (token.expires_at ? <Time iso={token.expires_at} relative /> : "never"),
    },
    {
      id: "used",
      header: "Last used",
      cell: (token) => (token.last_used_at ? <Time iso={token.last_used_at} relative /> : "never"),
    },
    {
      id: "actions",
      header: "Actions",
      cell: (token) => <TokenMenu token={token} onOpen={(act) => setOpen({ act, token })} />,
    },
  ];
  const close = () => setOpen(null);
  return (
    <>
      <DataTable caption="Client tokens" columns={columns} rows={tokens} rowKey={(token) => token.token_id} />
      {open?.act === "edit" ? <EditTokenDialog token={open.token} onClose={close} /> : null}
      {open?.act === "rotate" ? <RotateTokenDialog token={open.token} onClose={close} /> : null}
      {open?.act === "revoke" ? <RevokeTokenDialog token={open.token} onClose={close} /> : null}
    </>
  );
}

function budgetOf(budgets: Schemas["Budgets"] | undefined, tokenId: string): Schemas["BudgetState"] | null {
  const own = budgets?.budgets.filter(
    (each) => each.budget.scope === "client_token" && each.budget.value === tokenId,
  );
  // Of several windows, the one that is used up first.
  return (
    own?.reduce<Schemas["BudgetState"] | null>(
      (worst, each) => (worst && worst.percent >= each.percent ? worst : each),
      null,
    ) ?? null
  );
}

function BudgetBar({ state }: { state: Schemas["BudgetState"] | null }) {
  if (state === null) {
    return (
      <Text size="sm" c="dimmed">
        none
      </Text>
    );
  }
  const color = state.exhausted ? "red.9" : state.percent >= 80 ? "orange.9" : "cyan.9";
  return (
    <Stack gap={2} miw={120}>
      <Progress
        value={Math.min(100, state.percent)}
        color={color}
        aria-label={`${state.percent} % of the budget is spent`}
      />
      <Text size="xs" className="tabular">
        <Money micro={state.spent_micro_usd} /> of <Money micro={state.budget.limit_micro_usd} />
      </Text>
    </Stack>
  );
}

const SOURCES = { token: "own limit", tenant: "tenant", plan: "of the plan", none: "" } as const;

function Limits({ token, plan }: { token: ClientToken; plan: Schemas["Limits"] | undefined }) {
  return (
    <Stack gap={0}>
      {effectiveLimits(token.limits, plan)
        .filter((each) => each.source !== "none")
        .map((each) => (
          <Text key={each.name} size="xs" className="nowrap">
            {each.name}: {each.value}{" "}
            <Text span size="xs" c="dimmed">
              {SOURCES[each.source]}
            </Text>
          </Text>
        ))}
    </Stack>
  );
}

function Scope({ token }: { token: ClientToken }) {
  const parts = scopeOf(token);
  if (parts.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        everything
      </Text>
    );
  }
  return (
    <Stack gap={0} maw={220}>
      {parts.map((part) => (
        <Text key={part} size="xs" lineClamp={2} title={part}>
          {part}
        </Text>
      ))}
    </Stack>
  );
}
