import { query } from "@/api/client";
import { useAccess } from "@/session/access";

const ONE = { params: { query: { limit: 1 } } };
const OUTAGES = { params: { query: { limit: 200 } } };

/**
 * Return whether the first answers of the upper half of the page are still awaited. It is shown at once when they are there, since
 * its parts have heights that nobody knows before. The same questions are asked by the parts, and sent once.
 */
export function useFirstLoad(): boolean {
  const readsTokens = useAccess("list_client_tokens").allowed;
  const answers = [
    query.useQuery("get", "/api/v1/provider-keys/summary"),
    query.useQuery("get", "/api/v1/credits"),
    query.useQuery("get", "/api/v1/budgets"),
    query.useQuery("get", "/api/v1/health/outages", OUTAGES),
    query.useQuery("get", "/api/v1/requests", ONE),
  ];
  const tokens = query.useQuery("get", "/api/v1/client-tokens", ONE, { enabled: readsTokens });
  return answers.some((answer) => answer.isPending) || (readsTokens && tokens.isPending);
}
