import { query } from "@/api/client";
import { useAccess } from "@/session/access";
import { Select, TextInput } from "@/ui";

/** Whose spending or use something is about. */
export type ScopeKind = "tenant" | "team" | "member" | "client_token" | "key" | "model";

interface ScopeValueProps {
  scope: ScopeKind;
  value: string;
  onChange: (value: string) => void;
  error: string | undefined;
}

const PAGE = { params: { query: { limit: 1000 } } };

/** Whose spending or use it is: chosen from what there is; a model is typed, as its provider names it. */
export function ScopeValue({ scope, value, onChange, error }: ScopeValueProps) {
  const readsTokens = useAccess("list_client_tokens").allowed;
  const teams = query.useQuery("get", "/api/v1/teams", PAGE, { enabled: scope === "team" });
  const members = query.useQuery("get", "/api/v1/members", PAGE, { enabled: scope === "member" });
  const keys = query.useQuery("get", "/api/v1/provider-keys", PAGE, { enabled: scope === "key" });
  const tokens = query.useQuery("get", "/api/v1/client-tokens", PAGE, {
    enabled: scope === "client_token" && readsTokens,
  });
  switch (scope) {
    case "tenant":
      return null;
    case "model":
      return (
        <TextInput
          label="Model"
          description="As its provider names it, such as gpt-4o or openai/gpt-4o."
          value={value}
          onChange={(event) => onChange(event.currentTarget.value)}
          error={error}
          required
        />
      );
    default: {
      const options = {
        team: teams.data?.data.map((each) => ({ value: each.team, label: each.name ?? each.team })),
        member: members.data?.data.map((each) => ({
          value: each.member_id,
          label: each.name ?? each.email ?? each.member_id,
        })),
        key: keys.data?.data.map((each) => ({
          value: each.key_id,
          label: `${each.name ?? each.label} ${each.masked}`,
        })),
        client_token: tokens.data?.data.map((each) => ({
          value: each.token_id,
          label: `${each.label} …${each.last4}`,
        })),
      }[scope];
      const label = { team: "Team", member: "Member", key: "Provider key", client_token: "Client token" }[
        scope
      ];
      return (
        <Select
          label={label}
          value={value === "" ? null : value}
          onChange={(chosen) => onChange(chosen ?? "")}
          data={options ?? []}
          error={error}
          searchable
          required
          nothingFoundMessage="None of that name"
        />
      );
    }
  }
}
