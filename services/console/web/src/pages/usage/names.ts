/** How values of dimensions are shown: titles of providers, labels of tokens and keys, names of members. */

import { useMemo } from "react";
import { query } from "@/api/client";
import { ownValue } from "@/components/own-value";
import { useAccess } from "@/session/access";
import type { NameOf, ValueKey } from "./prepare";
import type { Dimension } from "./search";

const WORDS: Record<string, Record<string, string>> = {
  key_source: {
    byok: "Your keys",
    platform: "Platform credits",
    custom: "Own servers",
    none: "Without a key",
  },
  power_level: { eco: "Eco", balanced: "Balanced", precision: "Precision" },
  outcome: {
    completed: "Completed",
    failed: "Failed",
    cancelled: "Cancelled",
    indeterminate: "Unknown end",
  },
  error_class: {
    auth: "Key refused",
    quota: "No credit at the provider",
    rate_limit: "Rate limit",
    overloaded: "Provider overloaded",
    context_length: "Prompt too long",
    content_filter: "Content filter",
    not_found: "Model not found",
    bad_request: "Invalid request",
    timeout: "Timeout",
    server: "Provider error",
    truncated: "Answer cut off",
    unreachable: "Provider not reachable",
    policy: "Policy",
    limit: "Limit of the gateway",
    credit: "No credits",
    budget: "Budget used up",
    unavailable: "No model available",
    expired: "Deadline passed",
    cancelled: "Cancelled by the client",
    indeterminate: "Unknown end",
    internal: "Error of the gateway",
  },
};

const WITHOUT: Record<string, string> = {
  operation: "Without an operation",
  power_level: "Without a power level",
  client_token: "Without a client token",
  key: "Without a provider key",
  team: "Without a team",
  member: "Without a member",
  error_class: "Without a failure",
};

const MOST = 1000;
const KEPT = { staleTime: 60_000 };

/** Return a function that names values of the dimensions in use. Names that the role may not read stay ids. */
export function useNames(used: readonly Dimension[]): NameOf {
  const uses = (dimension: Dimension, allowed = true) => ({
    ...KEPT,
    enabled: allowed && used.includes(dimension),
  });
  const readsTokens = useAccess("list_client_tokens").allowed;
  const readsKeys = useAccess("list_provider_keys").allowed;
  const readsMembers = useAccess("list_members").allowed;
  const page = { params: { query: { limit: MOST } } };
  const providers = query.useQuery("get", "/api/v1/providers", page, KEPT).data;
  const tokens = query.useQuery("get", "/api/v1/client-tokens", page, uses("client_token", readsTokens)).data;
  const keys = query.useQuery("get", "/api/v1/provider-keys", page, uses("key", readsKeys)).data;
  const members = query.useQuery("get", "/api/v1/members", page, uses("member", readsMembers)).data;
  return useMemo(() => {
    const names: Record<string, ReadonlyMap<string, string>> = {
      provider: new Map(providers?.data.map((each) => [each.name, each.title])),
      client_token: new Map(tokens?.data.map((each) => [each.token_id, each.label])),
      key: new Map(keys?.data.map((each) => [each.key_id, each.name ?? each.label])),
      member: new Map(
        members?.data.map((each) => [each.member_id, each.name ?? each.email ?? each.member_id]),
      ),
    };
    return (key: ValueKey) => nameOfValue(key, names[key.dimension]);
  }, [providers, tokens, keys, members]);
}

/** Return the text of a value; `names` are those of its dimension. */
export function nameOfValue(key: ValueKey, names: ReadonlyMap<string, string> = new Map()): string {
  if (key.kind === "none") {
    return WITHOUT[key.dimension] ?? "Without a value";
  }
  if (key.kind === "other" || key.kind === "rest") {
    return "Others";
  }
  const value = key.value ?? "";
  return names.get(value) ?? ownValue(WORDS[key.dimension], value) ?? value;
}
