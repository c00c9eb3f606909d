import { query } from "@/api/client";
import { Select } from "@/ui";

interface ScopeFieldsProps {
  label?: string;
  description?: string;
  /** What the whole tenant is called here. */
  whole?: string;
  team: string | null;
  member: string | null;
  onChange: (scope: { team: string | null; member: string | null }) => void;
}

const WHOLE = "tenant";

/** Choose a scope: the whole tenant, one team or one member. */
export function ScopeField(props: ScopeFieldsProps) {
  const {
    label = "Pays for",
    description = "A key of a team or member is used before the tenant's keys, and for nobody else.",
    whole = "All requests of the tenant",
    team,
    member,
    onChange,
  } = props;
  const teams = query.useQuery("get", "/api/v1/teams", { params: { query: { limit: 1000 } } });
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const value = team !== null ? `team:${team}` : member !== null ? `member:${member}` : WHOLE;
  const known = [
    { value: WHOLE, label: whole },
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
      label={label}
      description={description}
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
