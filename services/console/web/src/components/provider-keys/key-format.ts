/** What the form of a pasted key says, before anything is sent. The key is only looked at, never kept. */

import type { Schemas } from "@/api/client";

export type Provider = Schemas["ProviderDescription"];

export interface FormatFinding {
  /** `refused` cannot be sent as a key at all; `unusual` is only a hint, and the test decides. */
  readonly kind: "ok" | "unusual" | "refused";
  readonly message: string;
}

const LONGEST = 16_384;
const OWN_FORMS: readonly (readonly [RegExp, string])[] = [
  [/^kf_sealed_/, "a sealed key"],
  [/^kf_operator_/, "the operator's token of a Keyferry installation"],
  [/^kf_(live|test)_/, "a client token of Keyferry"],
  [/^kf[a-z]?_/, "a credential of a Keyferry installation"],
  [/^(key|tok|req|att|dec)_[0-9a-v]{26}$/, "an id of Keyferry"],
];
/** Gateways and local servers issue keys in any form. */
const TAKES_ANY = new Set(["custom", "azure", "vllm", "ollama", "llamacpp"]);
/** Providers that have keys in use without a prefix. */
const OLDER_FORMS = new Set(["vertex", "together", "fireworks"]);

/** Return the providers whose prefix is the longest that the key starts with. */
export function ownersOf(key: string, providers: readonly Provider[]): readonly Provider[] {
  let longest = 0;
  let owners: Provider[] = [];
  for (const provider of providers) {
    const length = Math.max(
      0,
      ...provider.key_prefixes.filter((prefix) => key.startsWith(prefix)).map((prefix) => prefix.length),
    );
    if (length > longest) {
      longest = length;
      owners = [];
    }
    if (length > 0 && length === longest) {
      owners.push(provider);
    }
  }
  return owners;
}

/** Return the provider that a pasted key is probably of: the first in display order of those with its prefix. */
export function guessProvider(key: string, providers: readonly Provider[]): Provider | null {
  return ownersOf(key, providers)[0] ?? null;
}

/** Return what the form of a key says about it. */
export function checkFormat(
  key: string,
  provider: Provider,
  providers: readonly Provider[],
): FormatFinding | null {
  if (key === "") {
    return null;
  }
  const refused = refusal(key, provider);
  if (refused) {
    return { kind: "refused", message: refused };
  }
  if (/^["'`]/.test(key) && key.length > 1 && key.endsWith(key.charAt(0))) {
    return { kind: "unusual", message: "The key stands in quotes, which would be sent with it." };
  }
  const owners = ownersOf(key, providers);
  const fits = owners.some((owner) => owner.name === provider.name);
  if (fits || TAKES_ANY.has(provider.name)) {
    return { kind: "ok", message: fits ? `This has the form of a key of ${provider.title}.` : "" };
  }
  if (owners.length > 0) {
    const titles = owners.map((owner) => owner.title).join(" or ");
    return { kind: "unusual", message: `This looks like a key of ${titles}, not of ${provider.title}.` };
  }
  if (provider.key_prefixes.length > 0 && !OLDER_FORMS.has(provider.name)) {
    const known = provider.key_prefixes.map((prefix) => `${prefix}…`).join(" or ");
    return {
      kind: "unusual",
      message: `Known keys of ${provider.title} start with ${known}. The test decides.`,
    };
  }
  return { kind: "ok", message: "" };
}

function refusal(key: string, provider: Provider): string | null {
  if (key.startsWith("-----BEGIN") || (key.startsWith("{") && key.endsWith("}"))) {
    return `This is a private key or a credentials file. Give ${provider.key_description}.`;
  }
  if (!/^[\x21-\x7e]+$/.test(key)) {
    return "The key has spaces, line breaks or characters outside ASCII. Copy it again, without line ends.";
  }
  const own = OWN_FORMS.find(([form]) => form.test(key));
  if (own) {
    return `This looks like ${own[1]}, and not like ${provider.key_description}.`;
  }
  return key.length > LONGEST ? "The key is too long." : null;
}

/** Return what is wrong with the value of a field of a provider; null if nothing is. */
export function checkField(field: Provider["fields"][number], value: string): string | null {
  if (value === "") {
    return field.required ? `Needed: ${field.description}, such as ${field.example}.` : null;
  }
  // The pattern is the API's own, written for a whole value.
  return new RegExp(`^(?:${field.pattern})$`).test(value)
    ? null
    : `This has to be ${field.description}, such as ${field.example}.`;
}

/** Return the origin at which a key is used; null if the API has to find it. `gatewayUrls` replace providers' own addresses. */
export function originOf(
  provider: Provider,
  baseUrl: string,
  fields: Readonly<Record<string, string>>,
  gatewayUrls: Readonly<Record<string, string>>,
): string | null {
  const template =
    baseUrl ||
    gatewayUrls[provider.name] ||
    provider.places[fields.location ?? ""] ||
    provider.base_url ||
    "";
  const address = template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => fields[name] ?? whole);
  const parsed = URL.parse(address);
  return parsed && /^https?:$/.test(parsed.protocol) ? parsed.origin : null;
}

/** Return why the gateway will not call an address; null if it may. The gateway decides again, by what the name resolves to. */
export function checkAddress(text: string, privateNetworks: boolean): string | null {
  if (text === "") {
    return null;
  }
  const parsed = URL.parse(text);
  if (!parsed || !/^https?:$/.test(parsed.protocol)) {
    return "This has to be a URL such as https://llm.example.com/v1.";
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    return "The address must have no user name, password, ? or #.";
  }
  if (/\/chat\/completions\/?$/.test(parsed.pathname)) {
    return "Leave out /chat/completions: it is added for each call.";
  }
  if (privateNetworks) {
    return null;
  }
  if (parsed.protocol === "http:") {
    return "Only https is called here. http needs a network that the operator allows (KEYFERRY_EGRESS_ALLOW).";
  }
  if (parsed.port !== "" && parsed.port !== "8443") {
    return `Port ${parsed.port} is not called here: only 443 and 8443, unless the operator allows the network.`;
  }
  return isPrivateHost(parsed.hostname)
    ? "This is an address of a private network. The gateway does not call these, so that nobody can reach its internal " +
        "services through it; the operator can allow a network (KEYFERRY_EGRESS_ALLOW)."
    : null;
}

function isPrivateHost(host: string): boolean {
  return (
    /^(localhost|.*\.localhost|.*\.internal|.*\.local)$/.test(host) ||
    /^(0|10|127)\.|^169\.254\.|^192\.168\.|^172\.(1[6-9]|2\d|3[01])\.|^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./.test(
      host,
    ) ||
    /^\[(::1?|f[cd].*|fe[89ab].*)\]$/.test(host)
  );
}
