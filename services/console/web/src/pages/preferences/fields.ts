/** All preferences, as the form shows them. */

import type { Name } from "./edit";

export type FieldKind =
  | "choice"
  | "model"
  | "models"
  | "provider"
  | "flag"
  | "temperature"
  | "tokens"
  | "regions"
  | "text";

export interface Field {
  readonly name: Name;
  readonly label: string;
  readonly help: string;
  readonly kind: FieldKind;
  readonly choices?: readonly { readonly value: string; readonly label: string }[];
}

export interface FieldGroup {
  readonly title: string;
  readonly fields: readonly Field[];
}

export const MODES = [
  { value: "platform", label: "Platform: the platform's keys only" },
  { value: "byok", label: "BYOK: your own provider keys" },
  { value: "custom", label: "Custom: your own endpoints and servers" },
] as const;

export const FIELD_GROUPS: readonly FieldGroup[] = [
  {
    title: "Models",
    fields: [
      {
        name: "default_model",
        label: "Default model",
        kind: "model",
        help: "What the model name “default” stands for.",
      },
      {
        name: "preferred_models",
        label: "Preferred models",
        kind: "models",
        help: "Come first where the gateway chooses, in this order.",
      },
      {
        name: "fallback_models",
        label: "Fallback models",
        kind: "models",
        help: "Are tried after the model that was asked for, in this order. Up to 10.",
      },
      {
        name: "fallback_chain",
        label: "Fallback chain by use case",
        kind: "choice",
        help: "A reviewed chain of models, appended to the models of each request.",
        choices: ["general", "code", "chat", "long-context", "premium", "budget", "privacy"].map((value) => ({
          value,
          label: value,
        })),
      },
      {
        name: "power_level",
        label: "Power level",
        kind: "choice",
        help: "How much an answer may cost where the request does not say. The page Power level compares them.",
        choices: [
          { value: "eco", label: "Eco: cheapest" },
          { value: "balanced", label: "Balanced: quality for its cost" },
          { value: "precision", label: "Precision: best quality" },
        ],
      },
      {
        name: "learned_quality",
        label: "Learn from ratings",
        kind: "flag",
        help: "Ratings of answers count where a level chooses.",
      },
    ],
  },
  {
    title: "Providers",
    fields: [
      {
        name: "default_provider",
        label: "Default provider",
        kind: "provider",
        help: "Is tried first, among keys of the same owner.",
      },
      {
        name: "fallback_provider",
        label: "Fallback provider",
        kind: "provider",
        help: "Is tried next.",
      },
      {
        name: "cost_optimization",
        label: "Cheapest provider first",
        kind: "flag",
        help: "By list price. The model stays the same.",
      },
      {
        name: "auto_provider_switch",
        label: "Switch providers automatically",
        kind: "flag",
        help: "Off keeps a request at its first provider, even if it fails there.",
      },
      {
        name: "fallback_on_content_filter",
        label: "Go on after a content filter",
        kind: "flag",
        help: "Try the next provider when one refuses the content. Otherwise its refusal is the answer.",
      },
      {
        name: "fallback_after_possible_charge",
        label: "Go on after a possible charge",
        kind: "flag",
        help: "Ask one other provider although the first may have charged for an answer that was lost.",
      },
    ],
  },
  {
    title: "Answers",
    fields: [
      {
        name: "temperature",
        label: "Temperature",
        kind: "temperature",
        help: "For chats that set none: 0 is the most predictable, 2 the most varied.",
      },
      {
        name: "max_tokens",
        label: "Longest answer",
        kind: "tokens",
        help: "In tokens, for chats that set no limit.",
      },
      {
        name: "max_tokens_per_request",
        label: "Limit of every request",
        kind: "tokens",
        help: "A chat that asks for more tokens is refused.",
      },
    ],
  },
  {
    title: "Where requests are processed",
    fields: [
      {
        name: "eu_only",
        label: "European Union only",
        kind: "flag",
        help: "Once on, narrower scopes cannot turn it off. Privacy and region shows what it would change.",
      },
      {
        name: "allowed_regions",
        label: "Allowed regions",
        kind: "regions",
        help: "Beginnings of region names such as eu, us-east-1. Press Enter after each.",
      },
    ],
  },
  {
    title: "OpenRouter",
    fields: [
      {
        name: "openrouter_site_url",
        label: "Site URL",
        kind: "text",
        help: "Sent to OpenRouter, and to nobody else.",
      },
      {
        name: "openrouter_site_name",
        label: "Site name",
        kind: "text",
        help: "Shown in OpenRouter's rankings.",
      },
    ],
  },
];

export const MODE_FIELD: Field = {
  name: "mode",
  label: "Routing mode",
  kind: "choice",
  help: "Whose keys may serve requests. Without a mode the key policy decides.",
  choices: MODES,
};

const ALL = [MODE_FIELD, ...FIELD_GROUPS.flatMap(({ fields }) => fields)];

/** Return the label of a preference. */
export function labelOf(name: string): string {
  if (name === "mode_by_operation") {
    return "Mode by operation";
  }
  if (name === "model_by_operation") {
    return "Model by operation";
  }
  return ALL.find((field) => field.name === name)?.label ?? name;
}

export const NAMES: readonly string[] = [
  ...ALL.map(({ name }) => name),
  "mode_by_operation",
  "model_by_operation",
];
