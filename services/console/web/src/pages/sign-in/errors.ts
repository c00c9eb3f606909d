/** What failed when signing in, by the code in the address; other text of the address is never shown. */

const MESSAGES: Record<string, string> = {};
const UNKNOWN = "Signing in failed. Try again.";

/** Return the message for a code; null if there was no failure. */
export function signInError(code: string | null): string | null {
  return code === null ? null : (MESSAGES[code] ?? UNKNOWN);
}
