import { formatRelative, formatTime } from "@/format/time";
import { useTimeZone } from "@/session/time-zone";

interface TimeProps {
  iso: string;
  /** Show how long ago it is, with the time in the title, instead of the time. */
  relative?: boolean;
}

/** Show a time in the viewer's zone, or in UTC if that is chosen. */
export function Time({ iso, relative = false }: TimeProps) {
  const zone = useTimeZone();
  const absolute = formatTime(iso, zone);
  return (
    <time
      dateTime={iso}
      title={relative ? `${absolute} (${zone})` : `${formatRelative(iso)} (${zone})`}
      className="tabular"
    >
      {relative ? formatRelative(iso) : absolute}
    </time>
  );
}
