import {
  type DrawerProps,
  Drawer as MantineDrawer,
  Modal as MantineModal,
  type ModalProps,
} from "@mantine/core";
import { useEffect, useRef } from "react";

/**
 * Give the focus back to what had it before a dialog was opened. Mantine does so when `opened` becomes false, but not for a dialog
 * that is taken away while it is open, as pages do that make it anew each time.
 */
function useFocusReturn(opened: boolean): void {
  const opener = useRef<Element | null>(null);
  const before = useRef(false);
  if (opened && !before.current) {
    opener.current = document.activeElement;
  }
  before.current = opened;
  useEffect(
    () => () => {
      const { current } = opener;
      const nothingFocused = document.activeElement === null || document.activeElement === document.body;
      if (nothingFocused && current instanceof HTMLElement && current.isConnected) {
        current.focus({ preventScroll: true });
      }
    },
    [],
  );
}

/** A dialog over the page. */
export function Modal(props: ModalProps) {
  useFocusReturn(props.opened);
  return <MantineModal {...props} />;
}

/** A dialog at the side of the page. */
export function Drawer(props: DrawerProps) {
  useFocusReturn(props.opened);
  return <MantineDrawer {...props} />;
}
