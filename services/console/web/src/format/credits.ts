/** Credits as text: a thousand are one US dollar. Pure. */

/** Return credits, whose decimals are text, with thousands separators. */
export function formatCredits(credits: string): string {
  const [whole = "0", fraction] = credits.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction && /[1-9]/.test(fraction) ? `${grouped}.${fraction.replace(/0+$/, "")}` : grouped;
}

/** Return the micro-dollars that credits are worth: a credit with three places is a whole number of them. */
export function creditsToMicroUsd(credits: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d{1,3})0*)?$/.exec(credits);
  if (!match?.[2]) {
    throw new RangeError(`no credits: ${credits}`);
  }
  const micro = BigInt(match[2]) * 1000n + BigInt((match[3] ?? "").padEnd(3, "0"));
  return match[1] ? -micro : micro;
}
