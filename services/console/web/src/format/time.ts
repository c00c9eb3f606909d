/** Times as text. Timestamps are in the viewer's zone or in UTC; days are in the tenant's billing zone. */

export type TimeZoneChoice = "local" | "utc";

/** Return the IANA name of the zone in which timestamps are shown. */
export function zoneName(choice: TimeZoneChoice): string {
  return choice === "utc" ? "UTC" : Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** Return a time such as `Nov 30, 14:02:07`, with the year if it is not this one. */
export function formatTime(iso: string, zone: string, now: Date = new Date()): string {
  const date = new Date(iso);
  const sameYear = date.getUTCFullYear() === now.getUTCFullYear();
  return new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    month: "short",
    day: "numeric",
    ...(sameYear ? {} : { year: "numeric" }),
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  }).format(date);
}

/** Return a clock time such as `14:02`. */
export function formatClock(iso: string, zone: string): string {
  return new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(new Date(iso));
}

/** Return a day such as `Oct 4` of an ISO date or time in a zone. */
export function formatDay(iso: string, zone: string): string {
  return new Intl.DateTimeFormat("en-US", { timeZone: zone, month: "short", day: "numeric" }).format(
    new Date(iso),
  );
}

/** Return how long ago or ahead a time is, such as `2 minutes ago`. */
export function formatRelative(iso: string, now: Date = new Date()): string {
  const seconds = (new Date(iso).getTime() - now.getTime()) / 1000;
  const format = new Intl.RelativeTimeFormat("en-US", { numeric: "auto" });
  const units: [number, Intl.RelativeTimeFormatUnit][] = [
    [86_400, "day"],
    [3600, "hour"],
    [60, "minute"],
  ];
  for (const [size, unit] of units) {
    if (Math.abs(seconds) >= size) {
      return format.format(Math.trunc(seconds / size), unit);
    }
  }
  return Math.abs(seconds) < 5 ? "just now" : format.format(Math.trunc(seconds), "second");
}
