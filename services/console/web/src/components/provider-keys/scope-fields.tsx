import { query } from "@/api/client";
import { Select } from "@/ui";

interface ScopeFieldsProps {
  team: string | null;
  member: string | null;
  onChange: (scope: { team: string | null; member: string | null }) => void;
}

const WHOLE = "tenant";

/** Choose for whose requests a key pays: the whole tenant's, one team's or one member's. */
export function ScopeField({ team, member, onChange }: ScopeFieldsProps) {
  const teams = query.useQuery("get", "/api/v1/teams", { params: { query: { limit: 1000 } } });
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const value = team !== null ? `team:${team}` : member !== null ? `member:${member}` : WHOLE;
  const known = [
    { value: WHOLE, label: "All requests of the tenant" },
    ...(teams.data?.data ?? []).map((each) => ({
      value: `team:${each.team}`,
      label: `Team ${each.name ?? each.team}`,
    })),
    ...(members.data?.data ?? []).map((each) => ({
      value: `member:${each.member_id}`,
      label: each.name ?? each.email ?? each.member_id,
    })),
  ];
  const data = known.some((each) => each.value === value)
    ? known
    : [...known, { value, label: team ?? member ?? "" }];
  return (
    <Select
      label="Pays for"
      description="A key of a team or member is used before the tenant's keys, and for nobody else."
      data={data}
      value={value}
      searchable
      allowDeselect={false}
      onChange={(chosen) => {
        const [kind, ...rest] = (chosen ?? WHOLE).split(":");
        const name = rest.join(":");
        onChange({ team: kind === "team" ? name : null, member: kind === "member" ? name : null });
      }}
    />
  );
}
