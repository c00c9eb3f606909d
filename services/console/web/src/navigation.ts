/** The pages of the console in the order of its navigation; `navigation.json` is read by the browser tests, too. */

import navigation from "./navigation.json";

export interface PageEntry {
  /** The path below `/t/{tenant}/` or `/ops/`. */
  readonly path: string;
  readonly name: string;
  readonly icon: string;
  /** The letter that opens the page after `g`. */
  readonly shortcut?: string;
}

export interface PageGroup {
  readonly label: string;
  readonly pages: readonly PageEntry[];
}

export const TENANT_GROUPS: readonly PageGroup[] = navigation.groups;
export const OPERATOR_GROUP: PageGroup = navigation.operator;

/** Return the path of a page of a tenant, such as `/t/acme/usage`. */
export function tenantPath(tenant: string, path = ""): string {
  const base = `/t/${encodeURIComponent(tenant)}`;
  return path === "" ? base : `${base}/${path}`;
}

/** Return the path of a page about the installation, such as `/ops/health`. */
export function operatorPath(path: string): string {
  return `/ops/${path}`;
}
