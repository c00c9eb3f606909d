import { query } from "@/api/client";

/** Return a function that turns the actor of an act, as audits and keys have it, into a name for people. */
export function useActorName(): (actor: string) => string {
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: 1000 } } });
  const names = new Map<string, string>();
  for (const member of members.data?.data ?? []) {
    const name = member.name ?? member.email ?? member.member_id;
    names.set(`member:${member.member_id}`, name);
    if (member.user_id) {
      names.set(`user:${member.user_id}`, name);
      names.set(member.user_id, name);
    }
  }
  return (actor) => {
    if (actor === "operator" || actor === "console:operator") {
      return "the operator";
    }
    return names.get(actor) ?? names.get(actor.replace(/^[a-z]+:/, "")) ?? actor;
  };
}
