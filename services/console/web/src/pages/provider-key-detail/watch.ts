/** Whether a rotation is still being watched, and what its error rate says. Pure. */

import type { ProviderKey } from "@/components/provider-keys/key-status";
import { countOf, formatShare } from "@/format/numbers";

export const WATCH_MS = 600_000;

/** Return whether a key was rotated within the last ten minutes, and can be reverted. */
export function watchesRotation(key: ProviderKey, now: Date): boolean {
  return secondsLeft(key, now) > 0 && Boolean(key.revert_until);
}

/** Return for how many seconds a rotation is watched still. */
export function secondsLeft(key: ProviderKey, now: Date): number {
  if (!key.rotated_at) {
    return 0;
  }
  return Math.max(0, Math.ceil((new Date(key.rotated_at).getTime() + WATCH_MS - now.getTime()) / 1000));
}

export interface Counts {
  readonly total: number;
  readonly failed: number;
}

export interface Verdict {
  readonly kind: "ok" | "warning" | "error" | "neutral";
  readonly text: string;
}

/** Return what the requests since a rotation say, against those of the hour before. */
export function verdictOf(since: Counts, before: Counts): Verdict {
  if (since.total === 0) {
    return { kind: "neutral", text: "No request has used the new key yet." };
  }
  const share = since.failed / since.total;
  const text = `${countOf(since.failed, "error")} in ${countOf(since.total, "request")} (${formatShare(share)}) with the new key`;
  if (since.failed === 0) {
    return { kind: "ok", text: `${text}.` };
  }
  const usual = before.total === 0 ? null : before.failed / before.total;
  const compared = usual === null ? "" : `, ${formatShare(usual)} in the hour before`;
  return { kind: usual !== null && share <= usual ? "warning" : "error", text: `${text}${compared}.` };
}
