import { query, type Schemas } from "@/api/client";
import { useAccess } from "@/session/access";
import { Group, SegmentedControl, Select, Text } from "@/ui";
import { oneOf, text } from "@/url/search";

export const SCOPE_KINDS = ["tenant", "team", "member", "client_token"] as const;
export type ScopeKind = (typeof SCOPE_KINDS)[number];

/** Whose preferences: the tenant's, or those of a team, a member or a client token of it. */
export interface Scope {
  readonly kind: ScopeKind;
  /** Empty for the tenant, and while nothing is chosen. */
  readonly id: string;
}

/** The parameters of an address that name a scope. */
export const SCOPE_SPEC = {
  scope: oneOf(SCOPE_KINDS, "tenant"),
  id: text(/^[A-Za-z0-9_.-]{0,64}$/),
};

/** Return the query of the management API for a scope. */
export function scopeQuery({ kind, id }: Scope): { team?: string; member?: string; client_token?: string } {
  return kind === "tenant" || id === "" ? {} : { [kind]: id };
}

/** Return whether a scope names somebody. */
export function isComplete({ kind, id }: Scope): boolean {
  return kind === "tenant" || id !== "";
}

const KIND_NAMES: Record<ScopeKind, string> = {
  tenant: "Tenant",
  team: "Team",
  member: "Member",
  client_token: "Client token",
};

/** Return a scope's kind in words within a sentence. */
export function kindInWords(kind: ScopeKind): string {
  return KIND_NAMES[kind].toLowerCase();
}

interface ScopePickerProps {
  scope: Scope;
  onChange: (scope: Scope) => void;
}

/** Choose a scope. */
export function ScopePicker({ scope, onChange }: ScopePickerProps) {
  return (
    <Group align="flex-end" gap="sm">
      <SegmentedControl
        aria-label="Whose settings"
        data={SCOPE_KINDS.map((kind) => ({ value: kind, label: KIND_NAMES[kind] }))}
        value={scope.kind}
        onChange={(kind) => onChange({ kind: kind as ScopeKind, id: "" })}
      />
      {scope.kind === "tenant" ? null : <ScopeOf key={scope.kind} scope={scope} onChange={onChange} />}
    </Group>
  );
}

function ScopeOf({ scope, onChange }: ScopePickerProps) {
  const access = useAccess("list_client_tokens");
  const names = useScopeNames(scope.kind);
  if (scope.kind === "client_token" && !access.allowed) {
    return <Text size="sm">{access.reason}</Text>;
  }
  return (
    <Select
      aria-label={`Which ${kindInWords(scope.kind)}`}
      placeholder={names.isPending ? "Loading" : `Choose a ${kindInWords(scope.kind)}`}
      data={withCurrent(names.data ?? [], scope.id)}
      value={scope.id === "" ? null : scope.id}
      onChange={(id) => onChange({ kind: scope.kind, id: id ?? "" })}
      error={names.error ? "The list cannot be loaded now" : undefined}
      nothingFoundMessage={`No ${kindInWords(scope.kind)} of this name`}
      searchable
      limit={50}
      miw={260}
    />
  );
}

export interface ScopeName {
  readonly value: string;
  readonly label: string;
}

function withCurrent(names: readonly ScopeName[], id: string): ScopeName[] {
  return id === "" || names.some(({ value }) => value === id)
    ? [...names]
    : [...names, { value: id, label: id }];
}

const MOST = 1000;

/** Return the teams, members or client tokens of the tenant with their names. */
export function useScopeNames(kind: ScopeKind) {
  const paging = { params: { query: { limit: MOST } } };
  const mayList = useAccess("list_client_tokens").allowed;
  const teams = query.useQuery("get", "/api/v1/teams", paging, { enabled: kind === "team" });
  const members = query.useQuery("get", "/api/v1/members", paging, { enabled: kind === "member" });
  const tokens = query.useQuery("get", "/api/v1/client-tokens", paging, {
    enabled: kind === "client_token" && mayList,
  });
  if (kind === "team") {
    return { ...pick(teams), data: teams.data?.data.map((team) => named(team.team, team.name)) };
  }
  if (kind === "member") {
    return {
      ...pick(members),
      data: members.data?.data.map((each) => named(each.member_id, each.name ?? each.email)),
    };
  }
  return {
    ...pick(tokens),
    data: tokens.data?.data.filter((token) => !token.revoked_at).map(nameToken),
  };
}

function pick({ isPending, error }: { isPending: boolean; error: unknown }) {
  return { isPending, error };
}

function named(value: string, name: string | null | undefined): ScopeName {
  return { value, label: name || value };
}

function nameToken(token: Schemas["ClientToken"]): ScopeName {
  return { value: token.token_id, label: `${token.label} (…${token.last4})` };
}
