/** What the role of the page may do. The table comes from the server's own access rules; the server decides again. */

import roles from "@/api/generated/roles.json";
import { type Role, useSession } from "./session";

const ROLES: Record<string, readonly string[]> = roles;
const NAMES: Record<Role, string> = {
  owner: "owner",
  admin: "admin",
  developer: "developer",
  viewer: "viewer",
  operator: "operator of the installation",
};

export interface Access {
  readonly allowed: boolean;
  /** Why not, and who can grant it; empty if it is allowed. */
  readonly reason: string;
}

/** Return whether a role may call an operation of the management API. */
export function accessOf(role: Role | null, operation: string): Access {
  const allowed = ROLES[operation];
  if (allowed === undefined || (role !== null && allowed.includes(role))) {
    return { allowed: true, reason: "" };
  }
  const able = allowed.filter((name) => name !== "operator").map((name) => NAMES[name as Role] ?? name);
  const who = able.length > 0 ? able.join(" or ") : NAMES.operator;
  const own = role === null ? "You are no member here" : `Your role is ${NAMES[role]}`;
  return {
    allowed: false,
    reason: `${own}; this needs ${who}. An owner or admin of the tenant can change roles.`,
  };
}

/** Return whether the sender may call an operation for the tenant of the page. */
export function useAccess(operation: string): Access {
  return accessOf(useSession().role, operation);
}
