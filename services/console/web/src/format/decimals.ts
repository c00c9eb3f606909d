/** Exact sums of decimal numbers that the API gives as text. Pure. */

const FORM = /^(-?)(\d+)(?:\.(\d+))?$/;

interface Decimal {
  readonly digits: bigint;
  readonly places: number;
}

function read(text: string): Decimal {
  const match = FORM.exec(text);
  if (!match?.[2]) {
    throw new RangeError(`no decimal number: ${text}`);
  }
  const fraction = match[3] ?? "";
  const digits = BigInt(match[2] + fraction);
  return { digits: match[1] ? -digits : digits, places: fraction.length };
}

/** Return the sum of decimal numbers, without rounding and without zeros at its end. Raises RangeError for other text. */
export function addDecimals(numbers: readonly string[]): string {
  const all = numbers.map(read);
  const places = Math.max(0, ...all.map((each) => each.places));
  const sum = all.reduce((total, each) => total + each.digits * 10n ** BigInt(places - each.places), 0n);
  const absolute = (sum < 0n ? -sum : sum).toString().padStart(places + 1, "0");
  const whole = absolute.slice(0, absolute.length - places);
  const fraction = absolute.slice(absolute.length - places).replace(/0+$/, "");
  return `${sum < 0n ? "-" : ""}${whole}${fraction === "" ? "" : `.${fraction}`}`;
}

/** Return whether two decimal numbers are the same, however they are written. */
export function sameDecimal(left: string, right: string): boolean {
  return addDecimals([left]) === addDecimals([right]);
}
