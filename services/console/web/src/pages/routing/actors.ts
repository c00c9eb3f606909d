/** Names of those who have saved or published something. */

import { query } from "@/api/client";

const MOST = 1000;

/** Return a function that names an actor: a member by name or address, anybody else in words. */
export function useActorNames(): (actor: string) => string {
  const members = query.useQuery("get", "/api/v1/members", { params: { query: { limit: MOST } } });
  const names = new Map(
    members.data?.data.flatMap((member) =>
      member.user_id ? [[member.user_id, member.name ?? member.email ?? member.member_id]] : [],
    ),
  );
  return (actor) => names.get(actor) ?? (actor.startsWith("operator") ? "the operator" : actor);
}
