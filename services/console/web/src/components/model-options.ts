/** The models and providers of the tenant, for lists to choose from. */

import { query } from "@/api/client";

export { groupModels } from "./group-models";

/** Return the query for the models that the tenant can call now. */
export function useModels() {
  return query.useQuery(
    "get",
    "/api/v1/models",
    { params: { query: { limit: 1000 } } },
    { staleTime: 60_000 },
  );
}

/** Return the names of providers, own endpoints and own servers for a list. */
export function useProviderNames() {
  const providers = query.useQuery("get", "/api/v1/providers", { params: { query: { limit: 1000 } } });
  const endpoints = query.useQuery("get", "/api/v1/endpoints", { params: { query: { limit: 1000 } } });
  const names = [
    ...(providers.data?.data.map(({ name, title }) => ({ value: name, label: title })) ?? []),
    ...(endpoints.data?.data.map(({ name }) => ({ value: name, label: `${name} (own endpoint)` })) ?? []),
  ];
  return { names, isPending: providers.isPending, error: providers.error };
}
