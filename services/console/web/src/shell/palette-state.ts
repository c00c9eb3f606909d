/** Whether the palette is open: opened by the header and by a shortcut. */

const EVENT = "keyferry-open-palette";

export function openPalette(): void {
  window.dispatchEvent(new Event(EVENT));
}

/** Call `open` when the palette is asked for; return a function that ends this. */
export function onOpenPalette(open: () => void): () => void {
  window.addEventListener(EVENT, open);
  return () => window.removeEventListener(EVENT, open);
}
