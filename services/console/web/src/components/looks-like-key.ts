/** What may be searched for. Pure. */

const KEY_FORMS = [
  /^(sk|xai|pplx|gsk|hf|fw|tgp|api_org)[-_]\S{12,}/,
  /^(AIza|AQ\.|ya29\.|ABSK|AKIA|ASIA)\S{12,}/,
  /^kf[a-z]?_[a-z]+_\S{12,}/,
  /^\S{32,}$/,
];

/** Return whether a text looks like a secret, which must reach neither the address nor a log. */
export function looksLikeKey(text: string): boolean {
  const trimmed = text.trim();
  // A fingerprint has 16 hexadecimal digits, and an id its prefix.
  return !/^(key|tok|mem)_[0-9a-v]{26}$/.test(trimmed) && KEY_FORMS.some((form) => form.test(trimmed));
}
