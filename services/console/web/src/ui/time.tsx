import { formatClock, formatDay, formatRelative, formatTime } from "@/format/time";
import { useTimeZone } from "@/session/time-zone";

interface TimeProps {
  iso: string;
  /** Show how long ago it is, with the time in the title, instead of the time. */
  relative?: boolean;
  /** Show hours and minutes only, with the day if it is not today. */
  clock?: boolean;
}

/** Show a time in the viewer's zone, or in UTC if that is chosen. */
export function Time({ iso, relative = false, clock = false }: TimeProps) {
  const zone = useTimeZone();
  const absolute = formatTime(iso, zone);
  return (
    <time
      dateTime={iso}
      title={relative || clock ? `${absolute} (${zone})` : `${formatRelative(iso)} (${zone})`}
      className="tabular"
    >
      {relative ? formatRelative(iso) : clock ? clockOrDay(iso, zone) : absolute}
    </time>
  );
}

function clockOrDay(iso: string, zone: string): string {
  const day = formatDay(iso, zone);
  const clock = formatClock(iso, zone);
  return day === formatDay(new Date().toISOString(), zone) ? clock : `${day}, ${clock}`;
}
