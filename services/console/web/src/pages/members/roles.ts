/** The roles of a tenant, the strongest first. */

import type { Schemas } from "@/api/client";

export type TenantRole = Schemas["Member"]["role"];

export const ROLES: readonly { readonly value: TenantRole; readonly label: string; readonly may: string }[] =
  [
    { value: "owner", label: "Owner", may: "everything, including deleting the tenant" },
    { value: "admin", label: "Admin", may: "keys, rules, budgets and members below an owner" },
    {
      value: "developer",
      label: "Developer",
      may: "look at everything, and keep client tokens of their own",
    },
    { value: "viewer", label: "Viewer", may: "look at everything" },
  ];

export const ROLE_OPTIONS = ROLES.map(({ value, label }) => ({ value, label }));

/** Return how a person is named: by name, else by address, else by id. */
export function memberName(member: Pick<Schemas["Member"], "name" | "email" | "member_id">): string {
  return member.name ?? member.email ?? member.member_id;
}

/** Return whether a text has the form of an address that can be invited. */
export function isAddress(text: string): boolean {
  return /^[\x21-\x3f\x41-\x7e]{1,64}@[A-Za-z0-9.-]{1,180}\.[A-Za-z0-9-]{2,}$/.test(text);
}
