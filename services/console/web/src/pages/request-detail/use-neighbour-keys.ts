import { useNavigate } from "@tanstack/react-router";
import { useEffect, useEffectEvent } from "react";
import { tenantPath } from "@/navigation";
import { useTenant } from "@/session/session";
import { shortcutsEnabled } from "@/shell/shortcut-setting";
import { lastListAddress, neighboursOf } from "../requests/neighbours";

/** Follow `[` and `]` to the requests beside one in the list, and Escape back to the list. */
export function useNeighbourKeys(id: string): void {
  const tenant = useTenant();
  const navigate = useNavigate();
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    const target = event.target instanceof HTMLElement ? event.target : null;
    if (
      event.ctrlKey ||
      event.metaKey ||
      event.altKey ||
      event.defaultPrevented ||
      !shortcutsEnabled() ||
      target?.closest("input, textarea, select, [role=dialog], [contenteditable=true]")
    ) {
      return;
    }
    const { newer, older } = neighboursOf(id);
    const next = event.key === "[" ? newer : event.key === "]" ? older : null;
    if (next) {
      void navigate({ href: tenantPath(tenant, `requests/${encodeURIComponent(next)}`), replace: true });
    } else if (event.key === "Escape") {
      void navigate({ href: lastListAddress(tenantPath(tenant, "requests")) });
    }
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKey(event);
    window.addEventListener("keydown", listener);
    return () => window.removeEventListener("keydown", listener);
  }, []);
}
