import { useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useEffectEvent, useRef, useState } from "react";
import { TENANT_GROUPS, tenantPath } from "@/navigation";
import { useSession } from "@/session/session";
import { onOpenPalette } from "./palette-state";
import { shortcutsEnabled } from "./shortcut-setting";

const Palette = lazy(() => import("./palette"));
const ShortcutList = lazy(() => import("./shortcut-list"));

const SECOND_KEY_MS = 1500;

/** Follow the keyboard: Ctrl K, `?`, `/`, and `g` with the letter of a page. */
export function Shortcuts() {
  const [opened, setOpened] = useState<"palette" | "list" | null>(null);
  const { tenant } = useSession();
  const navigate = useNavigate();
  const goUntil = useRef(0);
  useEffect(() => onOpenPalette(() => setOpened("palette")), []);
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
      event.preventDefault();
      setOpened("palette");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || !shortcutsEnabled()) {
      return;
    }
    if (event.key === "?") {
      setOpened("list");
    } else if (event.key === "/") {
      const field = document.querySelector<HTMLInputElement>("main input[type=search], main [data-search]");
      if (field) {
        event.preventDefault();
        field.focus();
      }
    } else if (event.key === "g") {
      goUntil.current = event.timeStamp + SECOND_KEY_MS;
    } else if (event.timeStamp < goUntil.current && tenant !== null) {
      const page = TENANT_GROUPS.flatMap((group) => group.pages).find((each) => each.shortcut === event.key);
      goUntil.current = 0;
      if (page) {
        void navigate({ href: tenantPath(tenant, page.path) });
      }
    }
  });
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKey(event);
    window.addEventListener("keydown", listener);
    return () => window.removeEventListener("keydown", listener);
  }, []);
  return (
    <Suspense>
      {opened === "palette" ? <Palette onClose={() => setOpened(null)} /> : null}
      {opened === "list" ? <ShortcutList onClose={() => setOpened(null)} /> : null}
    </Suspense>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
