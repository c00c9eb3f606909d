/** The models of the tenant as options of a list, by provider. Pure. */

import type { Schemas } from "@/api/client";

export interface ModelGroup {
  readonly group: string;
  readonly items: { readonly value: string; readonly label: string }[];
}

type Model = Pick<Schemas["Model"], "id" | "provider" | "endpoint" | "virtual" | "capabilities">;

/** Return options for a list of models, each once, below its first provider; `current` is kept although it is not listed. */
export function groupModels(
  models: readonly Model[],
  wants: "chat" | "any",
  current: readonly string[] = [],
): ModelGroup[] {
  const groups = new Map<string, Set<string>>();
  const seen = new Set<string>();
  const add = (group: string, id: string) => {
    if (!seen.has(id)) {
      seen.add(id);
      groups.set(group, (groups.get(group) ?? new Set()).add(id));
    }
  };
  for (const model of models) {
    const embeds = model.capabilities?.includes("embeddings") ?? false;
    if (!model.virtual && (wants === "any" || !embeds)) {
      add(model.endpoint ?? model.provider, model.id);
    }
  }
  for (const id of current) {
    add("Not available now", id);
  }
  return [...groups].map(([group, ids]) => ({
    group,
    items: [...ids].map((id) => ({ value: id, label: id })),
  }));
}
