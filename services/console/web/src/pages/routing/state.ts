/** Which rules the editor began with, and what somebody else has changed since. Pure. */

import type { Schemas } from "@/api/client";
import type { Rule } from "./rules-text";

type Rules = Schemas["RoutingRules"];

export interface Base {
  readonly rules: readonly Rule[];
  /** Of the draft; 0 without one. */
  readonly revision: number;
  readonly published: number;
  readonly draft: Schemas["RuleDraft"] | null;
  readonly version: Schemas["RuleSetVersion"] | null;
}

/** Return the beginning of an editor: the draft if there is one, or else what is published. */
export function baseOf(loaded: Rules): Base {
  const draft = loaded.draft ?? null;
  const version = loaded.version ?? null;
  return {
    rules: (draft ?? version)?.rule_set.rules ?? [],
    revision: draft?.revision ?? 0,
    published: loaded.published ?? 0,
    draft,
    version,
  };
}

export interface ForeignChange {
  readonly kind: "published" | "draft";
  /** What it is now: "version 8", "the draft". */
  readonly name: string;
  readonly actor: string;
  readonly at: string;
  readonly rules: readonly Rule[];
}

/** Return what was changed after the editor began; null for nothing. Versions and revisions only ever grow. */
export function changeSince(base: Base, loaded: Rules): ForeignChange | null {
  const now = baseOf(loaded);
  if (now.published > base.published && now.version) {
    return {
      kind: "published",
      name: `version ${now.published}`,
      actor: now.version.actor,
      at: now.version.published_at,
      rules: now.version.rule_set.rules,
    };
  }
  if (now.draft && now.revision > base.revision) {
    return {
      kind: "draft",
      name: "the draft",
      actor: now.draft.actor,
      at: now.draft.saved_at,
      rules: now.draft.rule_set.rules,
    };
  }
  return null;
}
