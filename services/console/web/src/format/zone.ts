/** Days of a time zone as moments. */

/** Making a formatter takes far longer than using it. */
const FORMATS = new Map<string, Intl.DateTimeFormat>();

function formatOf(zone: string): Intl.DateTimeFormat {
  const known = FORMATS.get(zone);
  if (known) {
    return known;
  }
  const made = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  FORMATS.set(zone, made);
  return made;
}

/** Return by how many milliseconds the clocks of a zone are ahead of UTC at a moment. */
function offsetAt(moment: number, zone: string): number {
  const parts = formatOf(zone).formatToParts(moment);
  const part = (type: Intl.DateTimeFormatPartTypes) =>
    Number(parts.find((each) => each.type === type)?.value ?? 0);
  const local = Date.UTC(
    part("year"),
    part("month") - 1,
    part("day"),
    part("hour"),
    part("minute"),
    part("second"),
  );
  return local - Math.floor(moment / 1000) * 1000;
}

/** Return the day, such as `2026-11-30`, that a moment belongs to in a zone. */
export function dayOf(iso: string, zone: string): string {
  const moment = Date.parse(iso);
  return new Date(moment + offsetAt(moment, zone)).toISOString().slice(0, 10);
}

/** Return when a day such as `2026-11-30` begins in a zone, which need not be at midnight; null if it is no day. */
export function startOfDay(day: string, zone: string): string | null {
  const midnight = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== day) {
    return null;
  }
  const half = 12 * 3_600_000;
  const candidates = [offsetAt(midnight - half, zone), offsetAt(midnight + half, zone)]
    .map((offset) => midnight - offset)
    .sort((one, two) => one - two);
  const within = candidates.filter((moment) => dayOf(new Date(moment).toISOString(), zone) === day);
  const first = within[0] ?? candidates.at(-1) ?? midnight;
  return new Date(first).toISOString().replace(".000Z", "Z");
}

/** Return the day after another. */
export function nextDay(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) + 86_400_000).toISOString().slice(0, 10);
}

/** Return the day before another. */
export function previousDay(day: string): string {
  return new Date(Date.parse(`${day}T00:00:00Z`) - 86_400_000).toISOString().slice(0, 10);
}
