/** What failed when signing in, by the code in the address; other text of the address is never shown.
 * The codes and texts are those of services/console/sign_in/failures.py, which a test compares.
 */

const MESSAGES: Record<string, string> = {
  not_configured: "Nobody can sign in with an identity provider here: none is configured.",
  invalid_link:
    "This link does not sign you in: it is not complete, or of another installation. `make console` prints a new one.",
  expired_link: "This link has expired. `make console` prints a new one.",
  used_link:
    "This link has been used: each one works once. If that was not you, somebody else has signed in with it. `make console` prints a new one.",
  other_browser:
    "This browser has not begun to sign in, or has begun again in another tab, or keeps no cookies. Sign in again.",
  too_slow: "Signing in has taken too long. Sign in again.",
  refused: "The identity provider has refused to sign you in. Ask those who run it.",
  not_accepted:
    "The answer of the identity provider is not accepted. The log of the console says why to those who run it.",
  provider_unavailable: "The identity provider does not answer. Try again in a moment.",
  too_many_attempts: "Too many attempts to sign in come from your address. Wait a minute.",
  unavailable: "The console cannot sign you in now, as a part of it does not answer. Try again in a moment.",
};
const UNKNOWN = "Signing in failed. Try again.";

/** Return the message for a code; null if there was no failure. */
export function signInError(code: string | null): string | null {
  if (code === null) {
    return null;
  }
  return (Object.hasOwn(MESSAGES, code) ? MESSAGES[code] : undefined) ?? UNKNOWN;
}
