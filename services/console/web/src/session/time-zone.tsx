/** The zone in which timestamps are shown: the viewer's own or UTC, kept in this browser. */

import { createContext, type ReactNode, useContext, useMemo, useState } from "react";
import { type TimeZoneChoice, zoneName } from "@/format/time";

const KEY = "keyferry-time-zone";

interface ZoneState {
  readonly choice: TimeZoneChoice;
  readonly choose: (choice: TimeZoneChoice) => void;
}

const ZoneContext = createContext<ZoneState>({ choice: "local", choose: () => undefined });

function readChoice(): TimeZoneChoice {
  try {
    return localStorage.getItem(KEY) === "utc" ? "utc" : "local";
  } catch {
    return "local";
  }
}

/** Provide the choice of the zone. */
export function TimeZoneProvider({ children }: { children: ReactNode }) {
  const [choice, setChoice] = useState(readChoice);
  const state = useMemo(
    () => ({
      choice,
      choose(next: TimeZoneChoice) {
        setChoice(next);
        try {
          localStorage.setItem(KEY, next);
        } catch {
          // Without storage the choice lasts as long as the page.
        }
      },
    }),
    [choice],
  );
  return <ZoneContext value={state}>{children}</ZoneContext>;
}

/** Return the IANA name of the zone in which timestamps are shown. */
export function useTimeZone(): string {
  return zoneName(useContext(ZoneContext).choice);
}

/** Return the choice and a function that changes it. */
export function useTimeZoneChoice(): ZoneState {
  return useContext(ZoneContext);
}
