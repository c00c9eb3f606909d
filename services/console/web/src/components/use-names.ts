/** Names of what requests refer to by ids: provider keys, client tokens, members. */

import { useMemo } from "react";
import { query } from "@/api/client";
import { useAccess } from "@/session/access";

const MOST = 1000;
const KEPT = { staleTime: 60_000, retry: false } as const;

/** Return names by id; ids without a name are those of deleted things, and of those beyond the first thousand. */
export function useNames(enabled = true): ReadonlyMap<string, string> {
  const tokensAllowed = useAccess("list_client_tokens").allowed;
  const page = { params: { query: { limit: MOST } } };
  const keys = query.useQuery("get", "/api/v1/provider-keys", page, { ...KEPT, enabled });
  const tokens = query.useQuery("get", "/api/v1/client-tokens", page, {
    ...KEPT,
    enabled: enabled && tokensAllowed,
  });
  const members = query.useQuery("get", "/api/v1/members", page, { ...KEPT, enabled });
  return useMemo(() => {
    const names = new Map<string, string>();
    for (const key of keys.data?.data ?? []) {
      names.set(key.key_id, `${key.name ?? key.label} ${key.masked}`);
    }
    for (const token of tokens.data?.data ?? []) {
      names.set(token.token_id, `${token.label} …${token.last4}`);
    }
    for (const member of members.data?.data ?? []) {
      names.set(member.member_id, member.name ?? member.email ?? member.member_id);
    }
    return names;
  }, [keys.data, tokens.data, members.data]);
}
