/** The kinds of integration secrets, in words. Pure. */

import type { Schemas } from "@/api/client";

export type IntegrationKind = Schemas["IntegrationKind"];
export type IntegrationSecret = Schemas["IntegrationSecret"];
/** Whose secrets a page shows: the tenant's, or those of the installation. */
export type Owner = "tenant" | "platform";

interface KindFacts {
  readonly name: string;
  /** Where its owner finds it. */
  readonly hint: string;
  /** Whether only the installation has one. */
  readonly platformOnly: boolean;
  /** Whether an owner may have several. */
  readonly repeatable: boolean;
}

export const KINDS: Record<IntegrationKind, KindFacts> = {
  stripe_api_key: {
    name: "Stripe secret key",
    hint: "Begins with sk_live_, sk_test_ or rk_. In the Stripe dashboard under Developers, API keys.",
    platformOnly: true,
    repeatable: false,
  },
  stripe_webhook_secret: {
    name: "Stripe webhook signing secret",
    hint: "Begins with whsec_. In the Stripe dashboard under Developers, Webhooks, at the endpoint.",
    platformOnly: true,
    repeatable: false,
  },
  lago_api_key: {
    name: "Lago API key",
    hint: "In Lago under Developers, API keys.",
    platformOnly: true,
    repeatable: false,
  },
  smtp_password: {
    name: "Password of the mail server",
    hint: "Of the account that sends the mails.",
    platformOnly: true,
    repeatable: false,
  },
  slack_webhook_url: {
    name: "Slack incoming webhook",
    hint: "Begins with https://hooks.slack.com/. At api.slack.com/apps under Incoming Webhooks.",
    platformOnly: false,
    repeatable: true,
  },
  webhook_secret: {
    name: "Signing secret of a webhook",
    hint: "Made, rotated and removed with its webhook.",
    platformOnly: false,
    repeatable: true,
  },
  openai_admin_key: {
    name: "OpenAI admin key",
    hint: "Begins with sk-admin-. For the comparison with OpenAI's own usage report.",
    platformOnly: false,
    repeatable: false,
  },
  anthropic_admin_key: {
    name: "Anthropic admin key",
    hint: "Begins with sk-ant-admin. For the comparison with Anthropic's own usage report.",
    platformOnly: false,
    repeatable: false,
  },
  openrouter_management_key: {
    name: "OpenRouter management key",
    hint: "Begins with sk-or-v1-. For the comparison with OpenRouter's own usage report.",
    platformOnly: false,
    repeatable: false,
  },
};

/** Return whether a secret is changed where its webhook is, and not among the integrations. */
export function isManagedElsewhere(kind: IntegrationKind): boolean {
  return kind === "webhook_secret";
}

/** Return the kinds that an owner can add now, beside what there is. */
export function kindsToAdd(owner: Owner, present: readonly IntegrationSecret[]): IntegrationKind[] {
  const taken = new Set(present.map((secret) => secret.kind));
  return (Object.keys(KINDS) as IntegrationKind[]).filter((kind) => {
    const { platformOnly, repeatable } = KINDS[kind];
    return (
      !isManagedElsewhere(kind) && (owner === "platform" || !platformOnly) && (repeatable || !taken.has(kind))
    );
  });
}
