/** The form of a new key, without the key itself, and the request that it makes. Pure. */

import type { Schemas } from "@/api/client";
import { checkAddress, checkField, type Provider } from "@/components/provider-keys/key-format";
import type { KeyPart } from "@/components/provider-keys/send-key";
import { decimalDollars } from "@/components/provider-keys/settings";

export interface KeyForm {
  readonly provider: string;
  readonly label: string;
  readonly baseUrl: string;
  readonly fields: Readonly<Record<string, string>>;
  /** The name of the tenant's own server. */
  readonly name: string;
  readonly models: readonly string[];
  readonly priority: number;
  readonly weight: number;
  readonly limit: string;
  readonly expires: string;
  readonly team: string | null;
  readonly member: string | null;
  readonly saveUntested: boolean;
}

export const EMPTY_FORM: KeyForm = {
  provider: "",
  label: "",
  baseUrl: "",
  fields: {},
  name: "",
  models: [],
  priority: 100,
  weight: 1,
  limit: "",
  expires: "",
  team: null,
  member: null,
  saveUntested: false,
};

/** Return what is wrong with the form by field; empty if nothing is. `field:` precedes the provider's own fields. */
export function checkForm(
  form: KeyForm,
  provider: Provider | null,
  privateNetworks: boolean,
): Record<string, string> {
  const found: Record<string, string> = {};
  if (provider === null) {
    return { provider: "Choose whose key this is." };
  }
  if (form.label.trim() === "") {
    found.label = "Give the key a name, to tell it from others.";
  }
  if (provider.base_url === null && form.baseUrl === "") {
    found.baseUrl = "Give the address of your server, such as https://llm.example.com/v1.";
  }
  const address = checkAddress(form.baseUrl, privateNetworks);
  if (address) {
    found.baseUrl = address;
  }
  for (const field of provider.fields) {
    const wrong = checkField(field, form.fields[field.name] ?? "");
    if (wrong) {
      found[`field:${field.name}`] = wrong;
    }
  }
  if (form.limit !== "" && decimalDollars(form.limit) === null) {
    found.limit = "Give an amount such as 50 or 12.50.";
  }
  return found;
}

type TryBody = Schemas["TryKeyBody"];
type AddBody = Schemas["AddKeyBody"];

/** Return the body of a test of the key. */
export function tryBody(form: KeyForm, provider: Provider, key: KeyPart): TryBody {
  return {
    provider: provider.name,
    base_url: form.baseUrl === "" ? null : form.baseUrl,
    fields: filledFields(form, provider),
    ...key,
  };
}

/** Return the body that adds the key. */
export function addBody(form: KeyForm, provider: Provider, key: KeyPart): AddBody {
  return {
    ...tryBody(form, provider, key),
    label: form.label.trim(),
    name: form.name === "" ? null : form.name,
    allowed_models: form.models.length === 0 ? null : [...form.models],
    priority: form.priority,
    weight: form.weight,
    monthly_limit_usd: form.limit === "" ? null : decimalDollars(form.limit),
    expires_at: form.expires === "" ? null : new Date(form.expires).toISOString(),
    team: form.team,
    member: form.member,
    save_untested: form.saveUntested,
  };
}

/** Return the values of the fields that the provider has; those of another choice are left out. */
export function filledFields(form: KeyForm, provider: Provider): Record<string, string> {
  const names = provider.fields.map((field) => field.name);
  return Object.fromEntries(
    Object.entries(form.fields).filter(([name, value]) => value !== "" && names.includes(name)),
  );
}
