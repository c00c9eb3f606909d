/** The filters of the audit log in the address of the page. */

import { type SearchValues, text, time } from "@/url/search";

export const AUDIT_SEARCH = {
  actor: text(/^[\x21-\x7e]{0,200}$/),
  action: text(/^[a-z._]{0,100}$/),
  target: text(/^[^\p{Cc}\p{Cs}]{0,300}$/u),
  since: time(),
  until: time(),
};

export type AuditFilters = SearchValues<typeof AUDIT_SEARCH>;

/** Return the query of the management API for some filters. */
export function auditQuery(filters: AuditFilters): Record<string, string> {
  return Object.fromEntries(
    Object.entries(filters).filter(
      (entry): entry is [string, string] => entry[1] !== null && entry[1] !== "",
    ),
  );
}

/** Return the value of a date field (`YYYY-MM-DDTHH:mm`, in the browser's zone) as a time in UTC; null for an empty or invalid one. */
export function fromLocalField(value: string): string | null {
  const date = new Date(value);
  return value === "" || Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** Return a time as the value of a date field. */
export function toLocalField(iso: string | null): string {
  if (iso === null) {
    return "";
  }
  const date = new Date(iso);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
